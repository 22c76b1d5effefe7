"""A small study with all sixteen stages in processes of its own, and what two runs differ in.

Its selector is a reward API and its judge a chat model, both on loopback, so that every kind of
file is written: rows, weights, checkpoints, pools, caches of scores and of replies, exports.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from lib.runtime.files import FileError, read_json, read_jsonl
from lib.study.beyond.stage import run_arms
from lib.study.pools.chosen import choose_pairs
from lib.study.pools.self_generated import generate_pairs
from lib.study.publish.exports import write_exports
from lib.study.run import open_study
from lib.study.stages.data import prepare_data
from lib.study.stages.deep_pools import sample_deep_pools
from lib.study.stages.dpo import train_dpo
from lib.study.stages.drift import measure_drift
from lib.study.stages.responses import sample_and_select
from lib.study.stages.results import evaluate_study
from lib.study.stages.rewards import fit_rewards
from lib.study.stages.selection import measure_selection
from lib.study.stages.sft import train_sft
from lib.study.stages.warning import run_warning
from tests.forked import process
from tests.inference.fake_server import FakeServer, Reply
from tests.inference.judges.fake_judge import completion, longer, shown_answers
from tests.study.stand_ins import qwen_folder

SETTINGS: dict[str, Any] = {
    "data.pairs": "self_generated", "data.min_gap": 0.0, "data.label_noise": 0.1,
    "rewards.selector": "nemotron", "rewards.judge": "llm", "llm_judge.model": "tiny",
    "sampling.max_prompt_tokens": 512, "sampling.max_new_tokens": 64,
    "evaluation.deep_samples": 6, "evaluation.deep_prompts": 2,
    "evaluation.temperatures": [0.6], "beyond.arms": ["raft"]}
CALLS = {"data": prepare_data, "sft": train_sft, "rewards": fit_rewards, "pairs": generate_pairs,
         "chosen_pairs": choose_pairs, "dpo": train_dpo, "warning": run_warning,
         "responses": sample_and_select, "deep": sample_deep_pools,
         "selection": measure_selection, "movement": measure_drift,
         "results": lambda study: write_exports(study, evaluate_study(study)), "arms": run_arms}
STAGES = ("data", "sft", "rewards", "pairs", "chosen_pairs", "dpo", "warning", "responses", "deep",
          "selection", "movement", "verdicts", "results", "arms/sft_answers", "arms/raft", "beyond")
PATIENCE = 240  # seconds for the whole study on a machine with other work
TIMES = {"seconds", "sampling_seconds", "scoring_seconds", "timings", "tokens_per_second",
         "peak_memory_gb"}
UNCOMPARED = {"manifest.json", "begun.json", "README.md", ".locks"}  # times, and hashes of times


@dataclass(frozen=True)
class Trial:
    """Where runs lie that are compared, and the server of their scores and verdicts."""

    folder: Path
    url: str

    def start(self, run: Path, first: str = "data", last: str = "arms") -> BaseProcess:
        """The study in a process, from one call of `CALLS` up to another."""
        return process(run_study, self, run, first, last)

    def finish(self, run: Path, first: str = "data", last: str = "arms") -> int:
        """The exit status of these calls of the study: 0, or 2 after one sentence of ours."""
        started = self.start(run, first, last)
        started.join(timeout=PATIENCE)
        started.kill()
        return started.exitcode

    def said(self, run: Path) -> str:
        """What all processes of a run have said."""
        return self.spoken(run).read_text("utf-8")

    def spoken(self, run: Path) -> Path:
        return self.folder / f"{run.name}.txt"


@contextmanager
def trial(folder: Path) -> Iterator[Trial]:
    """A model, and a reward API and chat judge whose replies depend on the texts alone."""
    os.environ |= {"NVIDIA_API_KEY": "nvapi-planted", "NO_PROXY": "127.0.0.1",
                   "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    qwen_folder(folder / "model")
    server = FakeServer()
    server.behave = _reply
    try:
        yield Trial(folder, server.settings.base_url)
    finally:
        server.http.shutdown()
        server.http.server_close()


def _reply(asked: dict[str, Any], call: int) -> Reply:
    """A reward for the selector's questions, a verdict for the judge's."""
    if asked["model"] == SETTINGS["llm_judge.model"]:
        return completion(longer(*shown_answers(asked)))
    answer = asked["messages"][-1]["content"]
    reward = -(int(hashlib.sha256(answer.encode()).hexdigest()[:6], 16) % 2000) / 100
    return completion(f"reward:{reward}")


def run_study(trial: Trial, run: Path, first: str, last: str) -> None:
    """The stages and the exports; an error of ours ends the process with one sentence."""
    names = list(CALLS)
    torch.set_num_threads(1)
    with trial.spoken(run).open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    try:
        study = open_study("smoke", str(run), SETTINGS | {
            "model.name": str(trial.folder / "model"), "rewards.base_url": trial.url,
            "llm_judge.base_url": trial.url})
        for name in names[names.index(first):names.index(last) + 1]:
            CALLS[name](study)
    except Exception as error:
        if not type(error).__module__.startswith("lib."):
            raise
        print(f"error: {type(error).__name__}: {error}")
        raise SystemExit(2) from None


def differences(run: Path, other: Path) -> list[str]:
    """The files that differ between two runs, or that one of them lacks."""
    names, others = files_of(run), files_of(other)
    return sorted([*(names ^ others), *(name for name in names & others
                                        if content(run / name) != content(other / name))])


def files_of(run: Path) -> set[str]:
    """Files by their names in the run, but those of times and a database's journals."""
    return {str(path.relative_to(run)) for path in run.rglob("*")
            if path.is_file() and not UNCOMPARED & set(path.relative_to(run).parts)
            and path.suffix not in (".sqlite-wal", ".sqlite-shm")}


def content(file: Path) -> Any:
    """What is compared: rows of a cache, JSON without times, or bytes."""
    if file.suffix == ".sqlite":
        with closing(sqlite3.connect(file)) as connection:
            return sorted(connection.execute("SELECT key, score, reason FROM scores"))
    try:
        if file.suffix == ".json":
            return timeless(read_json(file))
        if file.suffix == ".jsonl":
            return timeless(read_jsonl(file))
    except FileError as error:
        return str(error)
    return file.read_bytes()


def timeless(value: Any) -> Any:
    """A JSON value without the times in it."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def stage_at_work(run: Path, pid: int | None) -> str | None:
    """The stage whose lock the process holds, the inner one of two."""
    held = []
    for file in run.glob(".locks/**/*.json"):
        try:
            if json.loads(file.read_text())["pid"] == pid:
                held.append((file.stat().st_mtime_ns, file))
        except (OSError, ValueError):  # released, or written at this moment
            continue
    return str(max(held)[1].relative_to(run / ".locks").with_suffix("")) if held else None
