"""Notebook 05's stage: every number that is stated anywhere, computed once into results.json.

Win rates of the paper's comparisons and of the controls that it lacks, by the judge and, beside it,
by the selector; the judges against the blind reader; text metrics; constraints; Best-of-N curves;
DPO's evaluation; timings and environment. Nothing is recomputed in a notebook.
"""

from pathlib import Path

import numpy as np

from lib.analysis.audit import judge_quality, reader_win_rates, system_order
from lib.analysis.constraints import constraint_accuracy_by_system
from lib.analysis.judges import judge_agreement, pair_accuracy
from lib.analysis.paper import claims, paper_rows
from lib.analysis.text_metrics import text_metrics_by_system
from lib.analysis.win_rates import round_robin, win_rates_by_source
from lib.data.sources import load_scored
from lib.runtime.devices import environment
from lib.runtime.files import Row, read_json, read_jsonl, write_json
from lib.runtime.manifest import read_manifest
from lib.study.curves import best_of_n_curves
from lib.study.prepare import load_part
from lib.study.rerank import load_systems, pools
from lib.study.reward_stage import ROLES, Scorer, conversation
from lib.study.run import Study, run_stage, stage_hash

STAGES = ("data", "sft", "dpo", "dpo_other", "rewards", "responses")


def evaluate_study(study: Study) -> Row:
    """Compute or find results.json; returns it."""
    inputs = {name: stage_hash(study, name) for name in ("data", "sft", "dpo", "responses")}
    run_stage(study, "results", {"evaluation": study.profile.evaluation}, inputs,
              outputs=["results.json"], work=lambda folder: _evaluate(study, folder))
    results = read_json(study.path("results", "results.json"))
    write_json(study.path("results.json"), results)
    return results


def comparisons(study: Study) -> list[tuple[str, str]]:
    """The family of comparisons: the paper's Table 1, the missing ones, and the random controls."""
    n, main = study.profile.sampling.samples, study.profile.sampling.temperature
    bon = {policy: f"{policy}+bon{n}@{main:g}" for policy in ("sft", "dpo")}
    control = {policy: f"{policy}+random{n}@{main:g}" for policy in ("sft", "dpo")}
    at_temperatures = [(f"dpo+bon{n}@{t:g}", "sft") for policy, t in pools(study)
                       if policy == "dpo"]
    return list(dict.fromkeys([
        ("sft", "base"), (bon["sft"], "base"), ("dpo", "sft"), *sorted(at_temperatures),
        ("dpo", "base"), (bon["dpo"], "base"), (bon["sft"], "sft"),
        (bon["dpo"], "dpo"), (bon["dpo"], bon["sft"]),
        (control["sft"], "sft"), (control["dpo"], "dpo"), (control["dpo"], "sft")]))


def confounds(study: Study) -> list[tuple[str, str]]:
    """The comparisons in which a judging selector flatters itself most: Best-of-N against one."""
    n, main = study.profile.sampling.samples, study.profile.sampling.temperature
    return [(f"sft+bon{n}@{main:g}", "sft"), (f"dpo+bon{n}@{main:g}", "dpo"),
            (f"dpo+bon{n}@{main:g}", "sft")]


def _evaluate(study: Study, folder: Path) -> None:
    systems, heldout = load_systems(study), load_part(study, "heldout")
    pairs, resamples = comparisons(study), study.profile.evaluation.resamples
    seed = study.profile.seed
    rates = round_robin(systems, ROLES, pairs, resamples=resamples, seed=seed)
    write_json(folder / "results.json", {
        "profile": study.profile.name, "seed": seed,
        "win_rates": [row | {"seed": seed} for row in rates],
        "confounds": confounds(study),
        "win_rates_by_source": win_rates_by_source(systems, ROLES, pairs),
        "best_of_n_curves": best_of_n_curves(study, systems),
        "sft_eval": _losses(study), "dpo_eval": _dpo_eval(study, "dpo"),
        "dpo_other_eval": _dpo_eval(study, "dpo_other"),
        "reward_models": _reward_models(study),
        "judge_agreement": judge_agreement(systems, ROLES, pairs),
        "audit": _audit(study, resamples),
        "constraints": constraint_accuracy_by_system(systems, heldout),
        "text_metrics": text_metrics_by_system(systems),
        "paper": {"table_1": paper_rows(), "claims": claims()},
        "timings": _timings(study), "environment": environment()})


def _losses(study: Study) -> Row:
    """SFT's validation loss before and after, token-weighted, in nats a token."""
    rows = [row for row in read_jsonl(study.path("sft", "metrics.jsonl"))
            if row["split"] == "validation"]
    return {"loss_before": rows[0]["loss"], "loss_after": rows[-1]["loss"], "n": rows[-1]["n"],
            "steps": rows[-1]["step"]} if rows else {}


def _dpo_eval(study: Study, stage: str) -> Row:
    """Last validation metrics, the accuracy's interval over prompts, the probe's two ends."""
    folder = study.path(stage)
    if read_manifest(folder) is None:
        return {}
    rows = read_jsonl(folder / "metrics.jsonl")
    last = [row for row in rows if row["split"] == "validation"][-1]
    samples = [row for row in rows if row["split"] == "samples"]
    return {**last, "accuracy": validation_accuracy(study, stage),
            "samples": samples[:1] + samples[-1:] if samples else []}


def validation_accuracy(study: Study, stage: str) -> Row:
    """Reward accuracy of a DPO stage on validation pairs; its interval resamples prompts."""
    rewards = read_jsonl(study.path(stage, "validation_rewards.jsonl"))
    gaps = np.array([row["chosen"] - row["rejected"] for row in rewards])
    return pair_accuracy(gaps, np.array([row["prompt"] for row in rewards]))


def _reward_models(study: Study) -> Row:
    path = study.path("rewards", "reward_models.json")
    rewards = study.profile.rewards
    return {"selector": rewards.selector, "judge": rewards.judge,
            "reports": read_json(path) if path.exists() else {}}


def _audit(study: Study, resamples: int) -> Row:
    """The blind reader's verdicts on the shipped answers, and how far the judges agree."""
    rows = load_scored("audit")
    flat = Scorer(study).score([conversation(row["prompt"], answer["text"])
                                for row in rows for answer in row["answers"]])
    sizes = np.cumsum([len(row["answers"]) for row in rows])[:-1]
    scores = {role: [list(part) for part in np.split(np.array(values, dtype=object), sizes)]
              for role, values in flat.items()}
    return {"win_rates": reader_win_rates(rows, scores, resamples=resamples),
            "judge_quality": [row for role in ROLES
                              for row in judge_quality(rows, role, scores[role])],
            "system_order": [system_order(rows, role, scores[role]) for role in ROLES]}


def _timings(study: Study) -> list[Row]:
    """Seconds and peak memory of every finished stage."""
    manifests = {stage: read_manifest(study.path(stage)) for stage in STAGES}
    return [{"stage": stage, "seconds": manifest["seconds"],
             "peak_memory_gb": manifest["peak_memory_gb"], "device": manifest["device"],
             "dtype": manifest["dtype"]} for stage, manifest in manifests.items() if manifest]
