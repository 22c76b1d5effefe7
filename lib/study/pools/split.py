"""Pools sampled and scored by several processes, each with its share of the prompts.

Each process appends its finished prompts to its own partial file, so that any number of processes
can resume an interrupted pool. The calling process writes the pool, its scores and its seconds, and
it alone calls an API, whose rate limit would not let several go faster.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.inference.partial_file import PartialFile, share_of
from lib.inference.rewards import ROLES
from lib.inference.sampling import iter_samples, samples_key
from lib.runtime.files import Row, read_jsonl
from lib.study.policies import load_policy
from lib.study.pools.pool import Pool, begun, policy_key, write_seconds
from lib.study.run import Study
from lib.study.stages.rewards import Scorer, timed_scores
from lib.study.workers.worker import run_on_workers
from lib.training.objective import ExampleGroup
from lib.training.processes import Processes


def sample_split(study: Study, pools: Sequence[Pool], prompts: Sequence[Row],
                 folder: Path) -> None:
    """Sample pools of one policy on `share_count()` processes.

    Raises ProcessError if one of them fails; the partial files keep the finished prompts.
    """
    resumed = [begun(pool.file(folder)) for pool in pools]
    shares = [pool.chosen_prompts(study, prompts) for pool in pools]
    wanted = []
    for pool, share in zip(pools, shares, strict=True):
        done = {row["id"] for row in _gathered(study, pool, folder).rows}
        wanted.append({"pool": asdict(pool),
                       "prompts": [prompt for prompt in share if prompt["id"] not in done]})
    returned = run_on_workers(study, "lib.study.pools.split:sample_share",
                              {"folder": str(folder), "wanted": wanted},
                              f"sampled {pools[0].policy}", "the prompts that are done")
    for number, pool in enumerate(pools):
        _gathered(study, pool, folder).finish([prompt["id"] for prompt in shares[number]])
        slowest = max(seconds[number] for seconds in returned)
        write_seconds(folder, pool, None if resumed[number] else slowest)


def sample_share(study: Study, options: Mapping[str, Any], processes: Processes) -> list[float]:
    """Sample this process's prompts of each pool; returns seconds by pool."""
    wanted = [(Pool(**one["pool"]), one["prompts"]) for one in options["wanted"]]
    model, tokenizer = load_policy(study, wanted[0][0].policy)
    seconds = []
    for pool, prompts in wanted:
        started, settings = time.perf_counter(), pool.settings(study)
        own = processes.part([ExampleGroup([place], len(prompt["prompt"]))
                              for place, prompt in enumerate(prompts)])
        partial = PartialFile(share_of(pool.file(Path(options["folder"])), processes.rank),
                              _key(study, pool))
        for row in iter_samples(model, tokenizer, [prompts[place] for place in own], settings,
                                description=f"sampling {pool.name}, this process's share"):
            partial.append(row)
        seconds.append(time.perf_counter() - started)
    return seconds


def _gathered(study: Study, pool: Pool, folder: Path) -> PartialFile:
    """The finished prompts of a pool, from all processes' partial files."""
    partial = PartialFile(pool.file(folder), _key(study, pool))
    partial.take_over()
    return partial


def _key(study: Study, pool: Pool) -> str:
    return samples_key(policy_key(study, pool.policy), study.device.dtype, pool.settings(study))


def score_split(study: Study, pools: Sequence[Pool],
                folder: Path) -> Iterator[tuple[list[Row], float | None]]:
    """Yield each pool's rows with `rewards`, and the seconds as `timed_scores` gives them."""
    api = [role for role in ROLES if getattr(study.profile.rewards.scoring, role) == "nemotron"]
    local = [role for role in ROLES if role not in api]
    shares = run_on_workers(study, "lib.study.pools.split:score_share",
                            {"folder": str(folder), "pools": [asdict(pool) for pool in pools],
                             "roles": local}, "scored answers", "the scores that are cached")
    api_scorer = Scorer(study, api, keep_features=False) if api else None
    for number, pool in enumerate(pools):
        scores = {name: rewards for share in shares for name, rewards in share[number][0].items()}
        seconds = [share[number][1] for share in shares]
        rows = read_jsonl(pool.file(folder))
        if api_scorer is not None:
            rows, more = timed_scores(api_scorer, rows)
            seconds = [None if more is None or own is None else own + more for own in seconds]
        yield ([_with_rewards(row, scores[row["id"]]) for row in rows],
               None if None in seconds else max(seconds))


def score_share(study: Study, options: Mapping[str, Any],
                processes: Processes) -> list[tuple[dict[str, list[Row]], float | None]]:
    """Score this process's rows of each pool: ({row id: rewards of its candidates}, seconds)."""
    scorer, returned = Scorer(study, options["roles"], keep_features=False), []
    for pool in options["pools"]:
        rows = read_jsonl(Pool(**pool).file(Path(options["folder"])))
        own = processes.part([ExampleGroup([place], sum(len(each["text"])
                                                        for each in row["candidates"]))
                              for place, row in enumerate(rows)])
        scored, seconds = timed_scores(scorer, [rows[place] for place in own])
        returned.append(({row["id"]: [each["rewards"] for each in row["candidates"]]
                          for row in scored}, seconds))
    return returned


def _with_rewards(row: Row, rewards: Sequence[Row]) -> Row:
    """The row with further rewards of its candidates."""
    return {**row, "candidates": [{**candidate, "rewards": candidate.get("rewards", {}) | more}
                                  for candidate, more in zip(row["candidates"], rewards,
                                                             strict=True)]}
