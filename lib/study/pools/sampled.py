"""Pools of candidates: sampled here or by a server, scored by selector and judge, and timed.

A resumed pool has no time (null). With `--processes N` several processes share the work
(`lib.study.pools.split`), and the slowest one's seconds count.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ServerSettings
from lib.inference.sampling import sample_to_file
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, read_jsonl, write_jsonl
from lib.runtime.progress import about
from lib.study.policies import load_policy
from lib.study.pools.pool import Pool, begun, costs_of, policy_key, write_seconds
from lib.study.pools.split import sample_split, score_split
from lib.study.pools.taken import take_pools
from lib.study.run import Study
from lib.study.stages.rewards import Scorer, timed_scores
from lib.study.workers.processes import share_count


def scored_pools(study: Study, pools: Sequence[Pool], prompts: Sequence[Row],
                 stage: str) -> Iterator[tuple[Pool, list[Row], Row]]:
    """Sample and score a stage's pools, but those that `from_run` has; yields as `score_pools`.

    A pool from there was not timed here.
    """
    folder = study.path(stage, "pools")
    taken = take_pools(study, stage, {pool: pool.chosen_prompts(study, prompts) for pool in pools})
    sample_pools(study, pools, prompts, folder)
    scored = score_pools(study, [pool for pool in pools if pool not in taken], folder)
    for pool in pools:
        yield (pool, taken[pool], costs_of(folder, pool, taken[pool], None)) if pool in taken \
            else next(scored)


def sample_pools(study: Study, pools: Sequence[Pool], prompts: Sequence[Row],
                 folder: Path) -> None:
    """Sample every missing pool on its share of the prompts, one policy in memory at a time.

    The profile's `sampling.server` samples, if there is one. An interrupted pool resumes after its
    last finished prompt.
    """
    missing = [pool for pool in pools if not pool.file(folder).exists()]
    local = study.profile.sampling.server is None
    for policy in dict.fromkeys(pool.policy for pool in missing):
        wanted = [pool for pool in missing if pool.policy == policy]
        if local and share_count() > 1:
            sample_split(study, wanted, prompts, folder)
            continue
        loaded = load_policy(study, policy) if local else None
        for pool in wanted:
            _timed_sampling(study, pool, pool.chosen_prompts(study, prompts), folder, loaded)
        del loaded


def score_pools(study: Study, pools: Sequence[Pool],
                folder: Path) -> Iterator[tuple[Pool, list[Row], Row]]:
    """Write `rewards` into every pool's file; yield (pool, its rows, its costs)."""
    if share_count() > 1:
        scored = score_split(study, pools, folder)
    else:
        scorer = Scorer(study, keep_features=False)
        scored = (_scored(scorer, pool, folder) for pool in pools)
    for pool, (rows, seconds) in zip(pools, scored, strict=True):
        write_jsonl(pool.file(folder), rows)
        yield pool, rows, costs_of(folder, pool, rows, seconds)


def _scored(scorer: Scorer, pool: Pool, folder: Path) -> tuple[list[Row], float | None]:
    with about(_named(pool)):
        return timed_scores(scorer, read_jsonl(pool.file(folder)))


def _named(pool: Pool) -> str:
    return f"{pool.policy} at T = {pool.temperature:g}"


def _timed_sampling(study: Study, pool: Pool, prompts: Sequence[Row], folder: Path,
                    loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None) -> None:
    path, settings = pool.file(folder), pool.settings(study)
    key, resumed, started = policy_key(study, pool.policy), begun(path), time.perf_counter()
    if loaded is None:
        sample_from_server(prompts, settings, server_of(settings, pool.policy), path, key)
    else:
        sample_to_file(*loaded, prompts, settings, path, model_key=key,
                       description=f"sampling {_named(pool)}")
    write_seconds(folder, pool, None if resumed else time.perf_counter() - started)


def server_of(settings: SamplingSettings, policy: str) -> ServerSettings:
    """The profile's server; it gets as many prompts at once as `rows` answers allow."""
    assert settings.server  # or the policy answers here
    return ServerSettings(model=policy, base_url=settings.server.replace("{policy}", policy),
                          concurrency=max(1, settings.rows // settings.samples))
