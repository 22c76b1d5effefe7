"""Notebook 05's stage: results.json, the one source of every number that the study states.

It holds the win rates of the family that was decided on beforehand, averaged over all pairs of
candidates (`win_rates`), single draws as their check, and what `exploratory` names; the judges
against the blind reader; text metrics; constraints; Best-of-N curves; DPO's evaluation; timings and
environment. Notebooks recompute nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lib.analysis.best_of_n.selection_effects import complementarity
from lib.analysis.comparisons.all_pairs import (
    contrasts,
    rate_systems,
    win_rate_matrix,
    win_rates,
    win_rates_by_source,
)
from lib.analysis.comparisons.family import (
    Comparison,
    contrast_triples,
    control_pairs,
    family,
)
from lib.analysis.comparisons.paper import DPO_EVAL, INCONSISTENCIES, claims, paper_rows
from lib.analysis.comparisons.printed_answers import printed_answers
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import ratings_rows, round_robin
from lib.analysis.design.components import variance_summary
from lib.analysis.judges.quality import judge_agreement
from lib.analysis.policies.displacement import displacement, reward_accuracy, reward_intervals
from lib.analysis.policies.warning import probe_intervals
from lib.analysis.texts.constraints import constraint_accuracy_by_system
from lib.analysis.texts.metrics import text_metrics_by_system
from lib.data.sources import SAMPLE
from lib.inference.rewards import ROLES
from lib.inference.systems import RANDOM, System
from lib.runtime.devices import environment
from lib.runtime.files import Row, read_json, read_jsonl, sha256_of, sha256_of_value, write_json
from lib.runtime.manifest import code_hash, read_manifest
from lib.runtime.progress import say
from lib.study import policies
from lib.study.policies import load_pools, system_at_main, systems_of
from lib.study.profiles import Profile
from lib.study.reader.readings import scores_hash
from lib.study.reward_models.chat_judge import chat_judge_results
from lib.study.run import Study, run_stage
from lib.study.seeds import known_seeds
from lib.study.stages.audit import Pairs, audit_results, reader_results, reference_results
from lib.study.stages.data import load_part
from lib.study.stages.deep_pools import without_deep
from lib.study.stages.drift import drift_results, measure_drift
from lib.study.stages.rewards import Scorer
from lib.study.stages.selection import measure_selection
from lib.study.stages.table import STAGES
from lib.study.stages.warning import warning_results

# looked at after the family: a search for surprises
EXPLORATORY = ("round_robin", "ratings", "contrasts", "win_rates_by_source", "complementarity")


def evaluate_study(study: Study) -> Row:
    """Compute results.json, unless it is finished; returns it with the spread over seeds.

    The code is an input: a change of a formula recomputes its number, which takes seconds.
    """
    selection = measure_selection(replace(study, force=False))  # only notebook 04 forces it
    measured, profile = measure_drift(study), study.profile
    chat_judge = chat_judge_results(study, [pair[:2] for pair in comparisons(study)])
    run_stage(study, "results", {"evaluation": without_deep(profile.evaluation)},
              outputs=["results.json"],
              work=lambda folder: _evaluate(study, folder, selection, measured, chat_judge),
              inputs={"audit": sha256_of(SAMPLE / "audit.jsonl"),
                      "reader": scores_hash(study.folder),
                      "code": code_hash("analysis", "inference", "study"),
                      "settings": sha256_of_value([asdict(profile.rewards),
                                                   asdict(profile.sampling)])})
    results = read_json(study.path("results", "results.json")) | {
        "seeds": known_seeds(study), "timings": _timings(study)}
    results["variance"] = variance_summary(results["variance_components"],
                                           results["audit"]["refits"], results["seeds"])
    write_json(study.view("results.json"), results)
    return results


def comparisons(study: Study) -> list[Comparison]:
    """The family of comparisons that was decided on beforehand, for this profile."""
    profile = study.profile
    return family(*_best_of(profile), profile.evaluation.rerank_base)


def controls(study: Study) -> list[tuple[str, str]]:
    """The random controls: they check the machinery and are no hypotheses."""
    n, main, _ = _best_of(study.profile)
    return control_pairs(n, main)


def confounds(study: Study) -> list[tuple[str, str]]:
    """Best-of-N against one answer: a selector that also judges inflates these win rates most."""
    sft, dpo = (system_at_main(study.profile, policy).name for policy in ("sft", "dpo"))
    return [(sft, "sft"), (dpo, "dpo"), (dpo, "sft")]


def _best_of(profile: Profile) -> tuple[int, float, tuple[float, ...]]:
    """N, the main temperature, and DPO's temperatures."""
    sampling = profile.sampling
    return sampling.samples, sampling.temperature, profile.evaluation.temperatures


def _evaluate(study: Study, folder: Path, selection: Row, measured: Row,
              chat_judge: Row) -> None:
    pools, heldout, scorer = load_pools(study), load_part(study, "heldout"), Scorer(study)
    systems, resamples = systems_of(study, pools), study.profile.evaluation.resamples
    say(f"results: statistics of {len(systems)} systems on {len(heldout)} prompts, without a line "
        "for up to a minute")
    pairs = [comparison[:2] for comparison in comparisons(study)]
    write_json(folder / "results.json", {
        "profile": study.profile.name, "seed": study.profile.seed, "confounds": confounds(study),
        **compare_pools(study, pools), **compare_systems(study, systems), **selection,
        "sft_eval": _losses(study), "dpo_eval": _dpo_eval(study),
        "warning": warning_results(study),
        "movement": drift_results(study, measured),
        "reward_models": _reward_models(study), "llm_judge": chat_judge,
        "judge_pairs": _from_rewards(study, "judge_pairs.json", []),
        "audit": audit_results(scorer, systems, pairs, resamples),
        "reader": reader_results(study, systems, pairs, judged_rates(study, pools, pairs)),
        "reference_score": reference_results(scorer, systems, heldout),
        "constraints": constraint_accuracy_by_system(systems, heldout),
        "text_metrics": text_metrics_by_system(systems),
        "printed_answers": printed_answers(systems, confounds(study)[:2]),
        "paper": {"table_1": paper_rows(), "claims": claims(), "dpo_eval": DPO_EVAL,
                  "inconsistencies": INCONSISTENCIES},
        "environment": environment()})


def judged_rates(study: Study, pools: policies.Pools,
                 pairs: Pairs) -> dict[str, dict[tuple[str, str], dict[str, float]]]:
    """By role and pair, the rate on each prompt over all candidates that might have been read."""
    board = policies.candidates_of_pools(study, pools)

    def rates(role: str, pair: tuple[str, str]) -> dict[str, float]:
        matches = board.matches(role, *pair)
        return dict(zip(matches.a.prompts, matches.values.tolist(), strict=True))

    return {role: {pair: rates(role, pair) for pair in pairs} for role in ROLES}


def compare_pools(study: Study, pools: policies.Pools) -> Row:
    """The family by all pairs, `win_rates`, and what is exploratory beside it."""
    pairs = [comparison[:2] for comparison in comparisons(study)]
    board = policies.candidates_of_pools(study, pools)
    systems = [name for name in policies.system_names(study.profile)
               if System.parse(name).rule != RANDOM]
    return {
        "family": [comparison._asdict() for comparison in comparisons(study)],
        "exploratory": list(EXPLORATORY),
        "win_rates": win_rates(board, pairs),
        "round_robin": win_rate_matrix(board, systems),
        "ratings": [row for role in reversed(ROLES) for row in ratings_rows(
            rate_systems(board, systems, role, study.profile.seed), role)],
        "contrasts": contrasts(board, contrast_triples(*_best_of(study.profile))),
        "win_rates_by_source": win_rates_by_source(board, pairs)}


def compare_systems(study: Study, systems: Mapping[str, Sequence[Row]]) -> Row:
    """What a single draw of each system says: the family again, the controls, agreement."""
    pairs = [comparison[:2] for comparison in comparisons(study)]
    resamples, seed = study.profile.evaluation.resamples, study.profile.seed
    board = scoreboard(systems, ROLES)
    best = {policy: system_at_main(study.profile, policy).name for policy in ("sft", "dpo")}
    return {
        "single_draws": round_robin(board, pairs, resamples=resamples, seed=seed),
        "controls": round_robin(board, controls(study), resamples=resamples, seed=seed),
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
    last = next((row for row in reversed(rows) if row["split"] == "validation"), {"n": 0})
    samples = [row for row in rows if row["split"] == "samples"]
    return {**last, "accuracy": reward_accuracy(rewards), "intervals": reward_intervals(rewards),
            "displacement": displacement(rows, rewards, study.profile.dpo.reward_scale),
            "samples": [probe_intervals(row) for row in (*samples[:1], *samples[-1:])]}


def validation_accuracy(study: Study) -> Row:
    """DPO's reward accuracy on validation pairs, for notebook 03."""
    return reward_accuracy(read_jsonl(study.path("dpo", "validation_rewards.jsonl")))


def _reward_models(study: Study) -> Row:
    rewards = study.profile.rewards.scoring
    return {"selector": rewards.selector, "judge": rewards.judge,
            "reports": _from_rewards(study, "reward_models.json", {})}


def _from_rewards(study: Study, name: str, otherwise: Any) -> Any:
    """A file of stage `rewards`; `otherwise` for a run that fits no head."""
    path = study.path("rewards", name)
    return read_json(path) if path.exists() else otherwise


def _timings(study: Study) -> list[Row]:
    """Seconds and peak memory of every finished stage."""
    manifests = {stage: read_manifest(study.path(stage)) for stage in STAGES}
    return [{"stage": stage, "seconds": manifest["seconds"],
             "peak_memory_gb": manifest["peak_memory_gb"], "device": manifest["device"],
             "dtype": manifest["dtype"]} for stage, manifest in manifests.items() if manifest]
