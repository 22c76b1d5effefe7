"""Notebook 04's stage: candidates of each policy, their scores, and each system's picks.

responses/pools/ holds one pool of candidates a prompt for each policy and temperature, with the
scores of selector and judge: comparisons average over all of them. picks.json says which candidate
each system answers with, <system>.jsonl holds these single draws for viewers and other tools,
costs.json each pool's tokens and seconds.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.inference.rewards import ROLES
from lib.runtime.files import Row, write_json, write_jsonl
from lib.study import policies
from lib.study.pools.sampled import scored_pools
from lib.study.run import Study, StudyError, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.rewards import fit_rewards


def sample_and_select(study: Study) -> dict[str, list[Row]]:
    """Sample, score and select, unless it is finished; returns response rows by system."""
    profile = study.profile
    fit_rewards(study, says=False)
    run_stage(study, "responses", {
        "model": profile.model, "sampling": profile.sampling.in_force(),
        "rewards": profile.rewards.scoring,
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
    picks, costs, scored = {}, [], set()
    for pool, rows, cost in scored_pools(study, list(readers), prompts_of(study), folder.name):
        costs.append(cost)
        scored |= scoring_roles(rows)
        for system in readers[pool]:
            picks[system.name] = policies.picks_of(system, rows, study.profile.seed)
            write_responses(folder / f"{system.name}.jsonl",
                            policies.picked_rows(system, rows, picks[system.name]))
    _refuse_silent(study, scored)
    write_json(folder / "picks.json", picks)
    write_json(folder / "costs.json", costs)


def scoring_roles(rows: Sequence[Row]) -> set[str]:
    """The roles that scored at least one candidate."""
    return {role for row in rows for candidate in row["candidates"]
            for role, score in candidate["rewards"].items() if score is not None}


def _refuse_silent(study: Study, scored: set[str]) -> None:
    """Without any score of a role nothing can be picked, or compared; the answers stay."""
    for role in ROLES:
        if role not in scored:
            name = getattr(study.profile.rewards.scoring, role)
            raise StudyError(f"the {role}, {name}, scored none of the answers, so nothing can be "
                             "compared; see why it refuses them, or set another "
                             f"rewards.{role}: all answers are kept, and the same command resumes")


def write_responses(path: Path, rows: Sequence[Row]) -> None:
    """Write a system's rows without token ids, which only the pools hold."""
    write_jsonl(path, [{**row, "candidates": [
        {key: value for key, value in candidate.items() if key != "token_ids"}
        for candidate in row["candidates"]]} for row in rows])
