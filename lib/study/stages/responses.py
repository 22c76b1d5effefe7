"""Notebook 04's stage: candidates of each policy, their scores, and each system's picks.

responses/pools/ holds one pool of candidates a prompt for each policy and temperature, with the
scores of selector and judge: comparisons average over all of them. picks.json says which candidate
each system answers with, <system>.jsonl holds these single draws for viewers and other tools,
costs.json each pool's tokens and seconds.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.runtime.files import Row, write_json, write_jsonl
from lib.study import policies
from lib.study.pools.sampled import sample_pools, score_pools
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.rewards import fit_rewards


def sample_and_select(study: Study) -> dict[str, list[Row]]:
    """Sample, score and select, unless it is finished; returns response rows by system."""
    profile = study.profile
    fit_rewards(study)
    run_stage(study, "responses", {
        "model": profile.model, "sampling": profile.sampling, "rewards": profile.rewards.scoring,
        **{key: getattr(profile.evaluation, key) for key in (
            "prompts", "temperatures", "temperature_prompts", "candidates", "base_candidates",
            "rerank_base")}},
        outputs=[*(f"pools/{pool.name}.jsonl" for pool in policies.planned_pools(profile)),
                 *(f"{name}.jsonl" for name in policies.system_names(profile)), "picks.json",
                 "costs.json"],
        work=lambda folder: _answer(study, folder))
    return policies.load_systems(study)


def prompts_of(study: Study) -> list[Row]:
    """The held-out prompts, ready for sampling."""
    return [{key: row[key] for key in ("id", "prompt", "source")}
            for row in load_part(study, "heldout")]


def _answer(study: Study, folder: Path) -> None:
    readers = policies.systems_by_pool(study.profile)
    sample_pools(study, list(readers), prompts_of(study), folder / "pools")
    picks, costs = {}, []
    for pool, rows, cost in score_pools(study, list(readers), folder / "pools"):
        costs.append(cost)
        for system in readers[pool]:
            picks[system.name] = policies.picks_of(system, rows, study.profile.seed)
            write_responses(folder / f"{system.name}.jsonl",
                            policies.picked_rows(system, rows, picks[system.name]))
    write_json(folder / "picks.json", picks)
    write_json(folder / "costs.json", costs)


def write_responses(path: Path, rows: Sequence[Row]) -> None:
    """Write a system's rows without token ids, which only the pools hold."""
    write_jsonl(path, [{**row, "candidates": [
        {key: value for key, value in candidate.items() if key != "token_ids"}
        for candidate in row["candidates"]]} for row in rows])
