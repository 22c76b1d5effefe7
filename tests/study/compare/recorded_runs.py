"""Finished runs in small: pools, picks, heads and manifests as a study leaves them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.parquet import write_parquet
from lib.inference.rewards.heads.head import Head, HeadOptions, save_head
from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.manifest import hash_outputs, outputs_hash
from lib.study.policies import picks_of, systems_by_pool
from lib.study.reward_models.heads import WITHOUT
from lib.study.run import Study, open_study

PROMPTS = tuple(f"Question {number}?" for number in range(12))
EVALUATED = ("prompts", "temperatures", "temperature_prompts", "candidates", "base_candidates",
             "rerank_base")


def recorded_run(folder: Path, settings: Mapping[str, Any] | None = None, *, shift: float = 0.0,
                 fit: int = 0, words: str = "", prompts: tuple[str, ...] = PROMPTS,
                 reference: str = "Good.", first_id: int = 0) -> Path:
    """A run of the smoke profile; answers differ by `words`, scores of SFT and DPO by `shift`.

    fit: of the heads that scored; first_id: number in the first prompt's id.
    """
    study = open_study("smoke", str(folder), settings)
    ids = {prompt: f"p{number}" for number, prompt in enumerate(prompts, start=first_id)}
    write_parquet([{"id": ids[prompt], "prompt": prompt, "reference": reference, "source": "advice",
                    "instruction_id_list": [], "kwargs": []} for prompt in prompts],
                  study.path("data", "heldout.parquet"))
    _stage(study, "data", {"data": asdict(study.profile.data)}, {"heldout": reference})
    _heads(study, fit)
    picks = {}
    for pool, systems in systems_by_pool(study.profile).items():
        trained = pool.policy != "base"
        rows = [_row(ids[prompt], prompt, f"{pool.name} {words if trained else ''}", pool.samples,
                     shift if trained else 0.0) for prompt in prompts[:pool.prompts]]
        write_jsonl(pool.file(study.path("responses", "pools")), rows)
        picks |= {system.name: picks_of(system, rows, study.profile.seed) for system in systems}
    write_json(study.path("responses", "picks.json"), picks)
    profile = study.profile
    _stage(study, "responses", {
        "model": asdict(profile.model), "sampling": asdict(profile.sampling),
        "rewards": asdict(profile.rewards),
        **{key: getattr(profile.evaluation, key) for key in EVALUATED}},
        {"rewards": outputs_hash(study.path("rewards"))})
    return folder


def _row(prompt_id: str, prompt: str, name: str, samples: int, shift: float) -> Row:
    draw = np.random.default_rng([*f"{name.split()[0]} {prompt}".encode()])
    return {"id": prompt_id, "prompt": prompt, "source": "advice", "candidates": [
        {"text": f"{name} {prompt} {place}", "tokens": 3, "finish": "stop", "logprob": -1.0,
         "rewards": {"selector": float(first), "judge": float(second) + shift}}
        for place, (first, second) in enumerate(draw.normal(size=(samples, 2)).round(3))]}


def _heads(study: Study, fit: int) -> None:
    for number, name in enumerate(("judge", "selector", WITHOUT)):
        ones, weight = np.ones(3, dtype=np.float32), 1 + number + 10 * fit
        views = ("prompt_then_answer", *(["overlap_with_reference"] if name == "judge" else []))
        save_head(Head(ones * weight, ones * 0, ones, (1,), views, "mean", "b", "s", "d", 9, 3,
                       HeadOptions(), 0.6, 0.7, 0.5), study.path("rewards"), name)
    _stage(study, "rewards", {"backbone": "smoke"}, {"backbone": "b"})


def _stage(study: Study, name: str, parameters: Row, inputs: Row) -> None:
    folder = study.path(name)
    write_json(folder / "manifest.json", {
        "parameters": {"seed": study.profile.seed, **parameters}, "inputs": inputs,
        "outputs": hash_outputs(folder, sorted(folder.glob("*.safetensors"))),
        "git": {"commit": "12" * 20, "dirty": False}, "environment": {"torch": "2"},
        "device": "cpu", "dtype": "float32"})


def change_pools(run: Path, change: Callable[[Row], Row]) -> None:
    """Rewrite every row of the run's pools."""
    for path in sorted((run / "responses" / "pools").glob("*.jsonl")):
        write_jsonl(path, [change(row) for row in read_jsonl(path)])


def change_manifest(run: Path, stage: str, **changes: Any) -> None:
    """Replace parts of a stage's manifest."""
    path = run / stage / "manifest.json"
    write_json(path, read_json(path) | changes)
