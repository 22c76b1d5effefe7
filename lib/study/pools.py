"""Pools of candidates: sampled here or by a server, scored by selector and judge, and timed.

A pool is `samples` answers of one policy at one temperature to each prompt. It lies in
`<policy>@<temperature>.jsonl`; beside it `.seconds.json` says how long sampling took. Seconds are
those of one uninterrupted sitting, and null where there was none: a resumed pool was not timed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.inference.sampling import sample_to_file
from lib.inference.sampling_settings import SamplingSettings
from lib.inference.server import ServerSettings, sample_from_server
from lib.runtime.files import Row, read_json, read_jsonl, write_json
from lib.study.reward_stage import Scorer, conversation, score_rows
from lib.study.run import Study, stage_hash


@dataclass(frozen=True)
class Pool:
    """Which answers: a policy (base, sft, dpo), its temperature, how many for each prompt."""

    policy: str
    temperature: float
    samples: int

    @property
    def name(self) -> str:
        """Name of its file: `dpo@0.6`."""
        return f"{self.policy}@{self.temperature:g}"


def sample_pools(study: Study, pools: Sequence[Pool], prompts: Sequence[Row], folder: Path,
                 load_policy: Callable[[Study, str], tuple]) -> None:
    """Write every pool that is not there yet; one policy in memory at a time.

    Pools come from `sampling.server` where the profile names one. load_policy gives model and
    tokenizer. A pool that was cut short goes on after its last finished prompt.
    """
    missing = [pool for pool in pools if not _file(folder, pool).exists()]
    for policy in dict.fromkeys(pool.policy for pool in missing):
        local = study.profile.sampling.server is None
        loaded = load_policy(study, policy) if local else None
        for pool in missing:
            if pool.policy == policy:
                _timed_sampling(study, pool, prompts, folder, loaded)
        del loaded


def scored_pools(study: Study, pools: Sequence[Pool],
                 folder: Path) -> Iterator[tuple[Pool, list[Row], Row]]:
    """Yield (pool, rows with `rewards`, costs); costs as `_costs` has them."""
    scorer = _timed_scorer(study)
    for pool in pools:
        rows = read_jsonl(_file(folder, pool))
        anew = _all_are_new(scorer, rows)
        started = time.perf_counter()
        rows = score_rows(scorer, rows)
        scoring = time.perf_counter() - started if anew else None
        yield pool, rows, _costs(pool, rows, _sampling_seconds(folder, pool), scoring)


def _costs(pool: Pool, rows: Sequence[Row], sampling: float | None, scoring: float | None) -> Row:
    """What a pool took: new tokens in all, seconds of sampling and of scoring (null: not timed)."""
    tokens = [candidate["tokens"] for row in rows for candidate in row["candidates"]]
    return {"policy": pool.policy, "temperature": pool.temperature, "prompts": len(rows),
            "candidates": pool.samples, "tokens": None if None in tokens else sum(tokens),
            "sampling_seconds": sampling, "scoring_seconds": scoring}


def _timed_sampling(study: Study, pool: Pool, prompts: Sequence[Row], folder: Path,
                    loaded: tuple | None) -> None:
    path, settings = _file(folder, pool), study.profile.sampling
    settings = replace(settings, temperature=pool.temperature, samples=pool.samples,
                       seed=study.profile.seed)
    resumed = path.with_name(f"{path.name}.partial.jsonl").exists()
    started = time.perf_counter()
    if loaded is None:
        sample_from_server(prompts, settings, server_of(settings, pool.policy), path,
                           policy_key(study, pool.policy))
    else:
        sample_to_file(*loaded, prompts, settings, path, model_key=policy_key(study, pool.policy),
                       description=f"sampling {pool.policy} at T = {pool.temperature:g}")
    seconds = time.perf_counter() - started
    write_json(_seconds_file(folder, pool), {"seconds": None if resumed else seconds})


def server_of(settings: SamplingSettings, policy: str) -> ServerSettings:
    """The server that the profile names; as many prompts at once as `rows` answers allow."""
    return ServerSettings(model=policy, base_url=settings.server.replace("{policy}", policy),
                          concurrency=max(1, settings.rows // settings.samples))


def policy_key(study: Study, policy: str) -> str:
    """What tells a policy's weights from others': its stage's hash, or the base model's name."""
    model = study.profile.model
    return f"{model.name}@{model.revision}" if policy == "base" else stage_hash(study, policy)


def _timed_scorer(study: Study) -> Scorer:
    """Selector and judge; embedded ones without their features on disk, to time the reading."""
    scorer = Scorer(study)
    scorer.embedded = [replace(model, cache_folder=None) for model in scorer.embedded]
    return scorer


def _all_are_new(scorer: Scorer, rows: Sequence[Row]) -> bool:
    """Whether no cache knows any of the answers, so that seconds are those of scoring them."""
    asked: list[Any] = [conversation(row["prompt"], candidate["text"])
                        for row in rows for candidate in row["candidates"]]
    distinct = len({(turns[0]["content"], turns[1]["content"]) for turns in asked})
    return all(len(model.lacking(asked)) == distinct for model in scorer.others.values())


def _sampling_seconds(folder: Path, pool: Pool) -> float | None:
    path = _seconds_file(folder, pool)
    return read_json(path)["seconds"] if path.exists() else None


def _file(folder: Path, pool: Pool) -> Path:
    return folder / f"{pool.name}.jsonl"


def _seconds_file(folder: Path, pool: Pool) -> Path:
    return folder / f"{pool.name}.seconds.json"
