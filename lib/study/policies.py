"""The policies of a run, the pools of candidates they sampled, and the systems that pick.

A pool holds K candidates of each prompt and their scores; `lib.analysis.comparisons.all_pairs`
compares all of them. A system's one answer is a pick from a pool: the policy itself (the last
candidate, at the main temperature), Best-of-N or another rule (by the selector's scores of the
first N) and its control (a random one of the first N).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.analysis.comparisons.candidates import CandidateBoard, candidate_board, offer_of
from lib.inference.best_of_n import random_of_n
from lib.inference.rewards import ROLES
from lib.inference.selection import pick
from lib.inference.systems import BEST, COEFFICIENTS, KL, RANDOM, System
from lib.runtime.files import Row, read_json, read_jsonl
from lib.study.pools.pool import Pool
from lib.study.profiles import Profile
from lib.study.reader.readings import with_readings
from lib.study.run import Study, stage_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POLICIES = ("base", "sft", "dpo")
Picks = dict[str, int | None]  # prompt id -> index of the candidate; None: no candidate has a score
Pools = dict[Pool, list[Row]]


def load_policy(study: Study,
                policy: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A policy's model in the run's compute precision, and the tokenizer.

    Raises StudyError for one that was not trained yet.
    """
    from lib.modeling.loading import load_model, load_tokenizer  # takes seconds to import
    profile, device = study.profile, study.device
    trained = policy != "base"
    if trained and not study.path(policy, "model").exists():
        stage_hash(study, policy)
    name = str(study.path(policy, "model")) if trained else profile.model.name
    revision = None if trained else profile.model.revision
    return load_model(name, device.dtype, device.device, revision), load_tokenizer(name, revision)


def planned_pools(profile: Profile) -> list[Pool]:
    """Every pool: DPO's at each temperature, the others' at the main one."""
    main, evaluation = profile.sampling.temperature, profile.evaluation
    return [*(Pool(policy, main, candidates_of(profile, policy), evaluation.prompts)
              for policy in POLICIES),
            *(Pool("dpo", heat, candidates_of(profile, "dpo"), evaluation.temperature_prompts)
              for heat in evaluation.temperatures if heat != main)]


def planned_deep_pools(profile: Profile) -> list[Pool]:
    """The pools of the long curve; none without `evaluation.deep_samples`."""
    samples, prompts = profile.evaluation.deep_samples, profile.evaluation.deep_prompts
    return [Pool(policy, profile.sampling.temperature, samples, prompts)
            for policy in ("sft", "dpo")] if samples else []


def reranked_pools(profile: Profile) -> list[Pool]:
    """The pools from which the selector picks."""
    return [pool for pool in planned_pools(profile)
            if pool.policy != "base" or profile.evaluation.rerank_base]


def candidates_of(profile: Profile, policy: str) -> int:
    """Candidates a prompt, over all of which comparisons are averaged."""
    evaluation = profile.evaluation
    return evaluation.base_candidates if policy == "base" else evaluation.candidates


def system_at_main(profile: Profile, policy: str, rule: str = BEST) -> System:
    """A policy's Best-of-N, or its control, at the main temperature."""
    return System(policy, rule, profile.sampling.samples, profile.sampling.temperature)


def rule_systems(profile: Profile, board: CandidateBoard, policy: str) -> list[str]:
    """The other rules' systems of a policy at the main temperature, each at its own default.

    A pool without log-probabilities, as a server's may be, has no system of the KL rule.
    """
    logps = board.pool(System(policy)).logps
    silent = logps is None or np.isnan(logps).all()
    return [system_at_main(profile, policy, rule).name for rule in COEFFICIENTS
            if not (rule == KL and silent)]


def systems_by_pool(profile: Profile) -> dict[Pool, list[System]]:
    """The systems that read each pool; the plain policy only at the main temperature."""
    sampling, reranked = profile.sampling, reranked_pools(profile)
    return {pool: [System(pool.policy)] * (pool.temperature == sampling.temperature)
            + [pool.picked_by(rule, sampling.samples) for rule in (BEST, RANDOM)]
            * (pool in reranked) for pool in planned_pools(profile)}


def system_names(profile: Profile) -> list[str]:
    """Names of all systems of the run, the plain policies first."""
    systems = [system for group in systems_by_pool(profile).values() for system in group]
    return [system.name for system in sorted(systems, key=lambda system: system.rule is not None)]


def picks_of(system: System, rows: Sequence[Row], seed: int) -> Picks:
    """The index of the candidate with which the system answers each prompt.

    A policy's single answer is its pool's last, so that in a pool of more than N candidates it is
    none of the first N, from which Best-of-N picks.
    """
    return {row["id"]: _pick(system, row, seed) for row in rows}


def _pick(system: System, row: Row, seed: int) -> int | None:
    if system.rule is None:
        return len(row["candidates"]) - 1
    if system.rule == RANDOM:
        return random_of_n(system.n, row["id"], seed)
    return pick(system, offer_of(row["candidates"][:system.n]), row["id"], seed)


def picked_rows(system: System, rows: Sequence[Row], picks: Picks) -> list[Row]:
    """The rows of responses/<system>.jsonl, with the candidates that the system picked from.

    Without any score of the selector, readers see the first candidate, and its scores are removed
    so that no judge counts it: see `lib.analysis.comparisons.scoreboard`.
    """
    if system.rule is None:
        return [{**row, "candidates": [row["candidates"][picks[row["id"]]]], "chosen": 0}
                for row in rows]
    offered = [{**row, "candidates": row["candidates"][:system.n]} for row in rows]
    return [_unscored(row) if picks[row["id"]] is None else {**row, "chosen": picks[row["id"]]}
            for row in offered]


def _unscored(row: Row) -> Row:
    return {**row, "chosen": 0, "candidates": [
        {name: value for name, value in candidate.items() if name != "readings"}
        | {"rewards": dict.fromkeys(candidate["rewards"])} for candidate in row["candidates"]]}


def load_pools(study: Study) -> Pools:
    """Every pool's candidates with their scores, a reader's included, from the run's files."""
    return {pool: with_readings(study.folder, read_jsonl(
                pool.file(study.path("responses", "pools"))))
            for pool in planned_pools(study.profile)}


def candidates_of_pools(study: Study, pools: Mapping[Pool, list[Row]]) -> CandidateBoard:
    """The candidates of all pools with both scores, to compare over all pairs."""
    return candidate_board({pool.key: rows for pool, rows in pools.items()}, ROLES,
                           study.profile.sampling.temperature)


def load_candidates(study: Study) -> CandidateBoard:
    """The same from the run's files."""
    return candidates_of_pools(study, load_pools(study))


def systems_of(study: Study, pools: Mapping[Pool, list[Row]]) -> dict[str, list[Row]]:
    """Response rows by system, in the order of `system_names`, from the pools and picks.json."""
    picks = read_json(study.path("responses", "picks.json"))
    rows = {system.name: picked_rows(system, pools[pool], picks[system.name])
            for pool, systems in systems_by_pool(study.profile).items() for system in systems}
    return {name: rows[name] for name in system_names(study.profile)}


def load_systems(study: Study) -> dict[str, list[Row]]:
    """Response rows by system, from the run's files; systems of one pool share its candidates."""
    return systems_of(study, load_pools(study))
