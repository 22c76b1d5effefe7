"""Pools of candidates: sampled here or by a server, scored by selector and judge, and timed.

A pool is `samples` answers of one policy at one temperature to each prompt. It lies in
`<policy>@<temperature>.jsonl`; beside it `.seconds.json` says how long sampling took. Seconds are
those of one uninterrupted sitting, and null where there was none: a resumed pool was not timed.
With `--processes N` the work is split (`lib.study.pools.split`) and the slowest process's seconds
count.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ServerSettings
from lib.inference.rewards import ROLES, conversation
from lib.inference.sampling import sample_to_file
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, read_json, read_jsonl, write_json
from lib.study.run import Study, stage_hash
from lib.study.stages.rewards import Scorer, score_rows
from lib.study.workers.processes import share_count


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
    missing = [pool for pool in pools if not pool_file(folder, pool).exists()]
    local = study.profile.sampling.server is None
    for policy in dict.fromkeys(pool.policy for pool in missing):
        wanted = [pool for pool in missing if pool.policy == policy]
        if local and share_count() > 1:
            from lib.study.pools.split import sample_split  # which imports this module
            sample_split(study, wanted, prompts, folder)
            continue
        loaded = load_policy(study, policy) if local else None
        for pool in wanted:
            _timed_sampling(study, pool, prompts, folder, loaded)
        del loaded


def scored_pools(study: Study, pools: Sequence[Pool],
                 folder: Path) -> Iterator[tuple[Pool, list[Row], Row]]:
    """Yield (pool, rows with `rewards`, costs); costs as `_costs` has them."""
    if share_count() > 1:
        from lib.study.pools.split import score_split
        scored = score_split(study, pools, folder)
    else:
        scorer = timed_scorer(study, ROLES)
        scored = (timed_scores(scorer, read_jsonl(pool_file(folder, pool))) for pool in pools)
    for pool, (rows, seconds) in zip(pools, scored, strict=True):
        yield pool, rows, _costs(pool, rows, _sampling_seconds(folder, pool), seconds)


def timed_scores(scorer: Scorer, rows: list[Row]) -> tuple[list[Row], float | None]:
    """Rows with `rewards`, and the seconds that this took; None where a cache knew some answer."""
    if not rows:  # the share of one process too many
        return [], 0.0
    anew, started = _all_are_new(scorer, rows), time.perf_counter()
    rows = score_rows(scorer, rows)
    return rows, time.perf_counter() - started if anew else None


def _costs(pool: Pool, rows: Sequence[Row], sampling: float | None, scoring: float | None) -> Row:
    """What a pool took: new tokens in all, seconds of sampling and of scoring (null: not timed)."""
    tokens = [candidate["tokens"] for row in rows for candidate in row["candidates"]]
    return {"policy": pool.policy, "temperature": pool.temperature, "prompts": len(rows),
            "candidates": pool.samples, "tokens": None if None in tokens else sum(tokens),
            "sampling_seconds": sampling, "scoring_seconds": scoring}


def settings_of(study: Study, pool: Pool) -> SamplingSettings:
    """How a pool's answers are sampled."""
    return replace(study.profile.sampling, temperature=pool.temperature, samples=pool.samples,
                   seed=study.profile.seed)


def _timed_sampling(study: Study, pool: Pool, prompts: Sequence[Row], folder: Path,
                    loaded: tuple | None) -> None:
    path, settings, key = pool_file(folder, pool), settings_of(study, pool), policy_key(
        study, pool.policy)
    resumed = begun(path)
    started = time.perf_counter()
    if loaded is None:
        sample_from_server(prompts, settings, server_of(settings, pool.policy), path, key)
    else:
        sample_to_file(*loaded, prompts, settings, path, model_key=key,
                       description=f"sampling {pool.policy} at T = {pool.temperature:g}")
    write_seconds(folder, pool, None if resumed else time.perf_counter() - started)


def begun(path: Path) -> bool:
    """Whether an earlier start left answers of this file."""
    return any(path.parent.glob(f"{path.name}*.partial.jsonl"))


def write_seconds(folder: Path, pool: Pool, seconds: float | None) -> None:
    """Keep how long sampling a pool took."""
    write_json(_seconds_file(folder, pool), {"seconds": seconds})


def server_of(settings: SamplingSettings, policy: str) -> ServerSettings:
    """The server that the profile names; as many prompts at once as `rows` answers allow."""
    return ServerSettings(model=policy, base_url=settings.server.replace("{policy}", policy),
                          concurrency=max(1, settings.rows // settings.samples))


def policy_key(study: Study, policy: str) -> str:
    """What tells a policy's weights from others': its stage's hash, or the base model's name."""
    model = study.profile.model
    return f"{model.name}@{model.revision}" if policy == "base" else stage_hash(study, policy)


def timed_scorer(study: Study, roles: Sequence[str]) -> Scorer:
    """These roles' models; embedded ones without their features on disk, to time the reading."""
    scorer = Scorer(study, roles)
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


def pool_file(folder: Path, pool: Pool) -> Path:
    """Where a pool's answers lie."""
    return folder / f"{pool.name}.jsonl"


def _seconds_file(folder: Path, pool: Pool) -> Path:
    return folder / f"{pool.name}.seconds.json"
