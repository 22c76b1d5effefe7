"""Notebook 05's stage: results.json, the one source of every number that the study states.

It holds win rates of the paper's comparisons and of the controls that the paper lacks, by judge and
selector; the judges against the blind reader; text metrics; constraints; Best-of-N curves; DPO's
evaluation; timings and environment. Notebooks recompute nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lib.analysis.best_of_n.selection_effects import complementarity
from lib.analysis.comparisons.paper import DPO_EVAL, INCONSISTENCIES, claims, paper_rows
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import (
    rate_systems,
    ratings_rows,
    round_robin,
    same_opponent_tests,
    win_rate_matrix,
    win_rates_by_source,
)
from lib.analysis.judges.quality import judge_agreement
from lib.analysis.policies.displacement import displacement, reward_accuracy, reward_intervals
from lib.analysis.policies.warning import probe_intervals
from lib.analysis.texts.constraints import constraint_accuracy_by_system
from lib.analysis.texts.metrics import text_metrics_by_system
from lib.data.sources import SAMPLE
from lib.inference.rewards import ROLES
from lib.inference.systems import BEST, RANDOM
from lib.runtime.devices import environment
from lib.runtime.files import Row, read_json, read_jsonl, sha256_of, sha256_of_value, write_json
from lib.runtime.manifest import code_hash, read_manifest
from lib.study import policies
from lib.study.policies import POLICIES, load_systems, system_at_main
from lib.study.reader.readings import scores_hash
from lib.study.run import Study, run_stage
from lib.study.seeds import known_seeds
from lib.study.stages.audit import audit_results, reader_results, reference_results
from lib.study.stages.data import load_part
from lib.study.stages.deep_pools import without_deep
from lib.study.stages.drift import drift_results, measure_drift
from lib.study.stages.rewards import Scorer
from lib.study.stages.selection import measure_selection
from lib.study.stages.table import STAGES
from lib.study.stages.warning import warning_results


def evaluate_study(study: Study) -> Row:
    """Compute results.json, unless it is finished; returns it with the spread over seeds.

    The code is an input: a change of a formula recomputes its number, which takes seconds.
    """
    selection = measure_selection(replace(study, force=False))  # only notebook 04 forces it
    measured, profile = measure_drift(study), study.profile
    run_stage(study, "results", {"evaluation": without_deep(profile.evaluation)},
              outputs=["results.json"],
              work=lambda folder: _evaluate(study, folder, selection, measured),
              inputs={"audit": sha256_of(SAMPLE / "audit.jsonl"),
                      "reader": scores_hash(study.folder),
                      "code": code_hash("analysis", "inference", "study"),
                      "settings": sha256_of_value([asdict(profile.rewards),
                                                   asdict(profile.sampling)])})
    results = read_json(study.path("results", "results.json")) | {
        "seeds": known_seeds(study), "timings": _timings(study)}
    write_json(study.path("results.json"), results)
    return results


def comparisons(study: Study) -> list[tuple[str, str]]:
    """The compared pairs: the paper's Table 1, those it lacks, and the random controls."""
    bon, control = systems_at_main(study, BEST), systems_at_main(study, RANDOM)
    at_temperatures = [(pool.picked_by(BEST).name, "sft")
                       for pool in policies.planned_pools(study.profile) if pool.policy == "dpo"]
    of_base = [(bon["base"], "base"), (control["base"], "base"), ("sft", bon["base"]),
               ("dpo", bon["base"])] if policies.candidates_of(study.profile, "base") > 1 else []
    return list(dict.fromkeys([
        ("sft", "base"), (bon["sft"], "base"), ("dpo", "sft"), *sorted(at_temperatures),
        ("dpo", "base"), (bon["dpo"], "base"), (bon["sft"], "sft"),
        (bon["dpo"], "dpo"), (bon["dpo"], bon["sft"]),
        (control["sft"], "sft"), (control["dpo"], "dpo"), (control["dpo"], "sft"), *of_base]))


def systems_at_main(study: Study, rule: str) -> dict[str, str]:
    """Policy -> the name of its Best-of-N or control at the main temperature."""
    return {policy: system_at_main(study.profile, policy, rule).name for policy in POLICIES}


def confounds(study: Study) -> list[tuple[str, str]]:
    """Best-of-N against one answer: a selector that also judges inflates these win rates most."""
    bon = systems_at_main(study, BEST)
    return [(bon["sft"], "sft"), (bon["dpo"], "dpo"), (bon["dpo"], "sft")]


def same_opponents(study: Study) -> list[tuple[str, str, str]]:
    """(first, second, opponent) for McNemar; the paper compares them over different opponents."""
    main, bon = study.profile.sampling.temperature, systems_at_main(study, BEST)
    sft, dpo = bon["sft"], bon["dpo"]
    colder_or_warmer = [pool.picked_by(BEST).name for pool in policies.reranked_pools(study.profile)
                        if pool.policy == "dpo" and pool.temperature != main]
    return [("dpo", "sft", "base"), (dpo, sft, "base"), (dpo, "dpo", "sft"),
            *((dpo, other, "sft") for other in sorted(colder_or_warmer))]


def _evaluate(study: Study, folder: Path, selection: Row, measured: Row) -> None:
    systems, heldout, scorer = load_systems(study), load_part(study, "heldout"), Scorer(study)
    pairs, resamples = comparisons(study), study.profile.evaluation.resamples
    write_json(folder / "results.json", {
        "profile": study.profile.name, "seed": study.profile.seed, "confounds": confounds(study),
        **compare_systems(study, systems), **selection,
        "sft_eval": _losses(study), "dpo_eval": _dpo_eval(study),
        "warning": warning_results(study),
        "movement": drift_results(study, measured),
        "reward_models": _reward_models(study),
        "audit": audit_results(scorer, systems, pairs, resamples),
        "reader": reader_results(study, systems, pairs, _judged(systems, pairs)),
        "reference_score": reference_results(scorer, systems, heldout),
        "constraints": constraint_accuracy_by_system(systems, heldout),
        "text_metrics": text_metrics_by_system(systems),
        "paper": {"table_1": paper_rows(), "claims": claims(), "dpo_eval": DPO_EVAL,
                  "inconsistencies": INCONSISTENCIES},
        "environment": environment()})


def _judged(systems: Mapping[str, Sequence[Row]],
            pairs: Sequence[tuple[str, str]]) -> dict[str, dict[tuple[str, str], dict]]:
    """Each role's rates of each pair by prompt, for the reader's correction."""
    board = scoreboard(systems, ROLES)
    return {role: {(a, b): dict(zip(board.prompts, board.outcomes(role, a, b), strict=True))
                   for a, b in pairs} for role in ROLES}


def compare_systems(study: Study, systems: Mapping[str, Sequence[Row]]) -> Row:
    """Comparisons, round robin, ratings and agreement, from the systems' scores alone.

    `win_rates` are the comparisons planned beforehand, Holm-corrected; `round_robin` has all pairs
    and is exploratory.
    """
    pairs, resamples = comparisons(study), study.profile.evaluation.resamples
    seed, best = study.profile.seed, systems_at_main(study, BEST)
    board = scoreboard(systems, ROLES)
    return {
        "win_rates": round_robin(board, pairs, resamples=resamples, seed=seed),
        "round_robin": win_rate_matrix(board),
        "ratings": [row for role in reversed(ROLES)
                    for row in ratings_rows(rate_systems(board, role, seed=seed), role)],
        "same_opponent": same_opponent_tests(board, same_opponents(study)),
        "win_rates_by_source": win_rates_by_source(board, pairs),
        "judge_agreement": judge_agreement(board, pairs),
        "complementarity": [complementarity(board, role, best["dpo"], "dpo", best["sft"], "sft",
                                            resamples, seed) for role in ROLES]}


def _losses(study: Study) -> Row:
    """SFT's validation loss before and after training, nats a token."""
    rows = [row for row in read_jsonl(study.path("sft", "metrics.jsonl"))
            if row["split"] == "validation"]
    return {"loss_before": rows[0]["loss"], "loss_after": rows[-1]["loss"], "n": rows[-1]["n"],
            "steps": rows[-1]["step"]} if rows else {}


def _dpo_eval(study: Study) -> Row:
    """Last validation metrics with intervals over prompts, and the first and last probe."""
    folder = study.path("dpo")
    rewards = read_jsonl(folder / "validation_rewards.jsonl")
    rows = read_jsonl(folder / "metrics.jsonl")
    last = [row for row in rows if row["split"] == "validation"][-1]
    samples = [row for row in rows if row["split"] == "samples"]
    return {**last, "accuracy": reward_accuracy(rewards), "intervals": reward_intervals(rewards),
            "displacement": displacement(rows, rewards, study.profile.dpo.beta),
            "samples": [probe_intervals(row) for row in (*samples[:1], *samples[-1:])]}


def validation_accuracy(study: Study) -> Row:
    """DPO's reward accuracy on validation pairs, for notebook 03."""
    return reward_accuracy(read_jsonl(study.path("dpo", "validation_rewards.jsonl")))


def _reward_models(study: Study) -> Row:
    path = study.path("rewards", "reward_models.json")
    rewards = study.profile.rewards
    return {"selector": rewards.selector, "judge": rewards.judge,
            "reports": read_json(path) if path.exists() else {}}


def _timings(study: Study) -> list[Row]:
    """Seconds and peak memory of every finished stage."""
    manifests = {stage: read_manifest(study.path(stage)) for stage in STAGES}
    return [{"stage": stage, "seconds": manifest["seconds"],
             "peak_memory_gb": manifest["peak_memory_gb"], "device": manifest["device"],
             "dtype": manifest["dtype"]} for stage, manifest in manifests.items() if manifest]
