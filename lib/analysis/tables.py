"""The tables of notebook 05 and the README that stand on rows of `results.json`: rows in, text out.

Every share has its n and interval beside it; nothing is computed here but wording.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.paper import DPO_EVAL
from lib.analysis.reports import markdown_table, number, p_value, rate, settle

Row = dict[str, Any]
TEXT_COLUMNS = {
    "mean_tokens": "mean tokens", "stopped_at_limit": "stopped at the limit",
    "seq_rep_4": "repeated 4-grams", "loop_rate": "answers that loop", "distinct_1": "distinct-1",
    "distinct_2": "distinct-2", "self_bleu": "self-BLEU",
    "distinct_candidates": "different candidates", "candidate_self_bleu": "candidates' self-BLEU"}


def interval(row: Row, key: str, low: str = "ci_low", high: str = "ci_high",
             digits: int = 2) -> str:
    """`.62 [.55, .68]` from three keys of a row; an en dash where there is no value."""
    if row[key] is None:
        return number(None)
    return rate({"win_rate": row[key], "ci_low": row[low], "ci_high": row[high]}, digits)


def power_table(rows: Sequence[Row]) -> str:
    """Undecided comparisons with the prompts that would settle them (power .8, two-sided .05)."""
    undecided = [row for row in rows if row["ci_low"] <= 0.5 <= row["ci_high"]]
    if not undecided:
        return "No comparison is undecided."
    return markdown_table(undecided, {
        "undecided comparison": _versus, "judge": "judge", "win rate [95 %]": rate, "n": "n",
        "what would settle it": settle})


def intervals_table(rows: Sequence[Row]) -> str:
    """The three intervals of each comparison, and what length does to its judge."""
    return markdown_table(rows, {
        "comparison": _versus, "n": "n", "score interval (reported)": rate,
        "Wilson": lambda row: interval(row, "win_rate", "wilson_low", "wilson_high"),
        "bootstrap over prompts": lambda row: interval(row, "win_rate", "bootstrap_low",
                                                       "bootstrap_high"),
        "tokens, a / b": lambda row: f"{row['mean_tokens_a']:.0f} / {row['mean_tokens_b']:.0f}",
        "length coefficient": lambda row: number(row["length_coefficient"]),
        "length-controlled": lambda row: number(row["length_controlled"])})


def ratings_table(rows: Sequence[Row]) -> str:
    """Bradley-Terry strengths of all systems, a column a judge, in the order of the first judge."""
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    found = {(row["judge"], row["system"]): row for row in rows}
    names = [row["system"] for row in rows if row["judge"] == judges[0]]
    return markdown_table([{"system": name} for name in names], {"system": "system"} | {
        judge: lambda row, judge=judge: _strength(found.get((judge, row["system"])))
        for judge in judges})


def same_opponent_table(rows: Sequence[Row]) -> str:
    """McNemar's tests: prompts on which only one of two systems beats the same opponent."""
    return markdown_table(rows, {
        "first": "first", "second": "second", "against": "opponent", "judge": "judge",
        "only the first won": "b", "only the second won": "c",
        "mid-p": lambda row: p_value(row["mid_p"]), "Holm p": lambda row: p_value(row["holm_p"])})


def sources_table(rows: Sequence[Row], a: str, b: str) -> str:
    """One comparison within each source of prompts, a column a judge."""
    chosen = [row for row in rows if (row["a"], row["b"]) == (a, b)]
    judges = list(dict.fromkeys(row["judge"] for row in chosen))
    found = {(row["judge"], row["source"]): row for row in chosen}
    sources = list(dict.fromkeys(row["source"] for row in chosen))
    return markdown_table([{"source": source} for source in sources], {
        "source": "source",
        **{f"{a} over {b}, {judge} [95 %]": lambda row, judge=judge: _with_n(
            found.get((judge, row["source"]))) for judge in judges}})


def selection_table(rows: Sequence[Row]) -> str:
    """Observed Best-of-N rates beside what selection alone predicts."""
    return markdown_table(rows, {
        "Best-of-N": "system", "over": "opponent", "judge": "judge",
        "one random draw wins": lambda row: number(row["single"]),
        "follows the selector by": lambda row: number(row["correlation"]),
        "selection alone predicts": lambda row: number(row["predicted"]),
        "observed [95 %]": lambda row: _with_n(row, "observed"), "reading": _selection_reading})


def complementarity_table(rows: Sequence[Row]) -> str:
    """The interaction of DPO and Best-of-N on each judge's own scale."""
    return markdown_table(rows, {
        "judge": "judge", "n": "n",
        "Best-of-N adds to DPO": lambda row: number(row["gain_with"]),
        "Best-of-N adds to SFT": lambda row: number(row["gain_without"]),
        "difference [95 %]": lambda row: interval(row, "mean", "low", "high"),
        "reading": _interaction_reading})


def reward_models_table(rows: Sequence[Row]) -> str:
    """Accuracy of each reward model on pairs of answers that it was not fitted on."""
    if not rows:
        return "The reward models of this run were not fitted here, so no unseen pairs are known."
    return markdown_table(rows, {
        "model": "model", "tested on": "tested_on", "pairs": "pairs",
        "accuracy [95 %]": lambda row: _with_n(row, "accuracy")})


def judge_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of two judges on the verdict of each comparison."""
    return markdown_table(rows, {
        "comparison": _versus, "judges": lambda row: f"{row['judge_a']}, {row['judge_b']}",
        "n": "n", "agree": lambda row: number(row["agreement"]),
        "kappa": lambda row: number(row["kappa"]), "AC1": lambda row: number(row["ac1"])})


def judge_quality_table(rows: Sequence[Row]) -> str:
    """A judge's accuracy on the reader's pairs, by how far apart the reader saw them."""
    return markdown_table(rows, {
        "judge": "judge", "reader's gap of at least": lambda row: f"{row['gap']:g}", "pairs": "n",
        "accuracy [95 %]": lambda row: interval(row, "accuracy"),
        "kappa": lambda row: number(row["kappa"]), "AC1": lambda row: number(row["ac1"])})


def system_order_table(rows: Sequence[Row]) -> str:
    """Whole systems in the order of the reader and of each judge."""
    return markdown_table(rows, {
        "judge": "judge", "Kendall's tau": lambda row: number(row["kendall_tau"]),
        "reader, best first": lambda row: ", ".join(row["reader_order"]),
        "judge, best first": lambda row: ", ".join(row["judge_order"])})


def corrected_table(rows: Sequence[Row], win_rates: Sequence[Row]) -> str:
    """Win rates by a judge, by the reader, and by the judge corrected for its known errors."""
    raw = {(row["a"], row["b"], row["judge"]): row for row in win_rates}
    if not rows:
        return "No comparison of this run was read by the blind reader."
    return markdown_table(rows, {
        "comparison": _versus, "judge": "judge",
        "as judged [95 %]": lambda row: _with_n(raw.get((row["a"], row["b"], row["judge"]))),
        "less its mean error [95 %]": lambda row: interval(row, "win_rate", "low", "high"),
        "reader, earlier answers": lambda row: number(row["reader_rate"]),
        "pooled with the reader [95 %]": lambda row: interval(row, "pooled_rate", "pooled_low",
                                                              "pooled_high"),
        "judge's weight there": lambda row: number(row["pooled_weight"])})


def calibration_table(rows: Sequence[Row]) -> str:
    """Calibration of each judge's score gaps; a temperature above 1 is over-confidence."""
    return markdown_table(rows, {
        "judge": "judge", "pairs": "n", "accuracy": lambda row: number(row["accuracy"]),
        "expected calibration error": lambda row: number(row["ece"], 3),
        "Brier": lambda row: number(row["brier"], 3),
        "log loss": lambda row: number(row["nll"], 3),
        "temperature": lambda row: f"{row['temperature']:.2f}",
        "log loss there": lambda row: number(row["nll_at_temperature"], 3)})


def length_bias_table(rows: Sequence[Row]) -> str:
    """How often each judge, and the reader, prefers the longer answer."""
    return markdown_table(rows, {"judge": "judge", "pairs of unequal length": "n",
                                 "prefers the longer [95 %]": lambda row: interval(
                                     row, "prefers_longer")})


def constraints_table(rows: Sequence[Row]) -> str:
    """Strict and loose accuracy of each system on constraints that a program checks."""
    found = {(row["system"], row["level"], row["mode"]): row for row in rows}
    names = list(dict.fromkeys(row["system"] for row in rows))
    if not names:
        return "No held-out prompt of this run carries a constraint."
    return markdown_table([{"system": name} for name in names], {"system": "system"} | {
        f"{mode}, by {level} [95 %]": lambda row, key=(level, mode): _with_n(
            found[row["system"], *key], "accuracy")
        for level in ("prompt", "instruction") for mode in ("strict", "loose")})


def text_table(metrics: Mapping[str, Row]) -> str:
    """Length, repetition and variety of each system's answers, and of its candidates."""
    rows = [{"system": name} | row for name, row in metrics.items()]
    return markdown_table(rows, {"system": "system", "n": "n"} | {
        title: lambda row, key=key: _metric(row, key) for key, title in TEXT_COLUMNS.items()})


def retention_table(rows: Sequence[Row]) -> str:
    """Loss of each policy on conversations that it was not trained on."""
    return markdown_table(rows, {
        "policy": "policy", "conversations": "n", "tokens": lambda row: f"{row['tokens']:,}",
        "loss, nats a token [95 %]": lambda row: interval(row, "loss", digits=3),
        "perplexity": lambda row: f"{row['perplexity']:.2f}",
        "change from the policy above [95 %]": lambda row: interval(
            row, "change", "change_low", "change_high", 3)})


def choices_table(rows: Sequence[Row]) -> str:
    """How often each policy finds the true continuation among several."""
    if not rows:
        return "No choice among continuations was measured in this run."
    return markdown_table(rows, {
        "policy": "policy", "questions": "n", "by guessing": lambda row: number(row["chance"]),
        "right [95 %]": lambda row: interval(row, "accuracy"),
        "change from the policy above [95 %]": lambda row: interval(
            row, "change", "change_low", "change_high")})


def divergence_table(kl: Row) -> str:
    """KL of DPO from SFT on DPO's own answers, beside the most that Best-of-N adds."""
    return markdown_table([kl], {
        "answers": "n", "drawn at": lambda row: f"T = {row['temperature']:g}, top-k {row['top_k']}",
        "mean tokens": lambda row: f"{row['mean_tokens']:.0f}",
        "KL(DPO, SFT), nats an answer [95 %]": lambda row: interval(row, "kl"),
        "nats a token": lambda row: number(row["kl_per_token"], 4),
        "from sampled tokens alone [95 %]": lambda row: interval(row, "k1", "k1_low", "k1_high"),
        "best of n, at most": lambda row: f"{row['best_of_n_bound']:.2f} (n = {row['best_of_n']})"})


def displacement_table(rows: Sequence[Row]) -> str:
    """Log-probability of chosen and rejected validation answers before and after DPO."""
    if not rows:
        return "DPO was not evaluated twice, so no change can be shown."
    return markdown_table(rows, {
        "answers": "side", "n": "n", "before, nats": lambda row: f"{row['before']:.2f}",
        "after, nats": lambda row: f"{row['after']:.2f}",
        "change": lambda row: f"{row['change']:+.2f}"})


def dpo_paper_table(dpo_eval: Row) -> str:
    """DPO's validation figures beside the paper's."""
    rows = [{"metric": name, "paper": paper, "ours": dpo_eval.get(name)}
            for name, paper in DPO_EVAL.items()]
    return markdown_table(rows, {
        "metric": "metric", "paper": lambda row: f"{row['paper']:.4f}",
        f"ours, {dpo_eval['n']} validation pairs": lambda row: f"{row['ours']:.4f}"})


def reference_table(rows: Sequence[Row]) -> str:
    """Reconstructed leaderboard score: how often a judge ranks the answer above the reference."""
    if not rows:
        return "The held-out prompts of this run carry no reference answers."
    return markdown_table(rows, {
        "system": "system", "judge": "judge",
        "above the reference [95 %]": lambda row: interval(row, "reconstructed_score"), "n": "n"})


def seeds_table(rows: Sequence[Row]) -> str:
    """Each comparison over seeds: every seed's rate, their spread, and the interval over both."""
    if not rows:
        return "One seed was run; `--seeds 3` trains and samples again and adds the spread."
    return markdown_table(rows, {
        "comparison": _versus, "judge": "judge", "n": "n",
        "rate of each seed": lambda row: ", ".join(number(value) for value in row["per_seed"]),
        "spread over seeds (sd)": lambda row: number(row["between_seeds"], 3),
        "first seed [95 %, prompts alone]": lambda row: interval(row, "first", "first_low",
                                                                 "first_high"),
        "mean [95 %, seeds and prompts]": lambda row: interval(row, "mean", "low", "high")})


def _versus(row: Row) -> str:
    return f"{row['a']} over {row['b']}"


def _with_n(row: Row | None, key: str = "win_rate") -> str:
    return number(None) if row is None else f"{interval(row, key)}, n = {row['n']}"


def _strength(row: Row | None) -> str:
    if row is None:
        return number(None)
    mark = " *" if row["prior"] else ""
    return f"{row['elo']:+.0f} [{row['elo_low']:+.0f}, {row['elo_high']:+.0f}]{mark}"


def _metric(row: Row, key: str) -> str:
    value = row[key]
    if f"{key}_low" in row:
        return interval(row, key, f"{key}_low", f"{key}_high")
    return number(value, 1 if value is not None and value >= 1 else 3)


def _selection_reading(row: Row) -> str:
    if row["predicted"] is None:
        return "scores never vary"
    if row["ci_low"] <= row["predicted"] <= row["ci_high"]:
        return "selection explains it"
    return "above selection" if row["observed"] > row["predicted"] else "below selection"


def _interaction_reading(row: Row) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "undecided: no interaction shown"
    return "complementary" if row["low"] > 0 else "they overlap"
