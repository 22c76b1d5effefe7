"""Tables of what the judges are worth: accuracy, agreement, calibration, corrected win rates.

Rows of `results.json` in, Markdown out; nothing is computed here but wording.
"""

from collections.abc import Sequence
from typing import Any

from lib.analysis.tables.formatting import interval, markdown_table, number, versus, with_n

Row = dict[str, Any]


def reward_models_table(rows: Sequence[Row]) -> str:
    """Accuracy of each reward model on pairs of answers that it was not fitted on."""
    if not rows:
        return "The reward models of this run were not fitted here, so no unseen pairs are known."
    return markdown_table(rows, {
        "model": "model", "tested on": "tested_on", "pairs": "pairs",
        "accuracy [95 %]": lambda row: with_n(row, "accuracy")})


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
        "judge, best first": lambda row: ", ".join(row["judge_order"]),
        "the other way round": lambda row: _pairs(row["turned"]),
        "of these the reader is sure of": lambda row: _pairs(row.get("turned_surely", []))})


def judge_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of two judges on the verdict of each comparison."""
    return markdown_table(rows, {
        "comparison": versus, "judges": lambda row: f"{row['judge_a']}, {row['judge_b']}",
        "n": "n", "agree": lambda row: number(row["agreement"]),
        "kappa": lambda row: number(row["kappa"]), "AC1": lambda row: number(row["ac1"])})


def audit_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of the reader and the judges, each two, on all comparisons of the audit."""
    if not rows:
        return "This run did not ask how far reader and judges agree on the audit's comparisons."
    return markdown_table(rows, {
        "on the audit": lambda row: f"{row['judge_a']}, {row['judge_b']}", "verdicts": "n",
        "agree": lambda row: number(row["agreement"]),
        "kappa": lambda row: number(row["kappa"]), "AC1": lambda row: number(row["ac1"])})


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


def corrected_table(rows: Sequence[Row], win_rates: Sequence[Row]) -> str:
    """Win rates by a judge, by the reader, and by the judge corrected for its known errors."""
    raw = {(row["a"], row["b"], row["judge"]): row for row in win_rates}
    if not rows:
        return "No comparison of this run was read by the blind reader."
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge",
        "as judged [95 %]": lambda row: with_n(raw.get((row["a"], row["b"], row["judge"]))),
        "less its mean error [95 %]": lambda row: interval(row, "win_rate", "low", "high"),
        "reader, earlier answers [95 %]": lambda row: interval(row, "reader_rate", "reader_low",
                                                               "reader_high"),
        "pooled with the reader [95 %]": lambda row: interval(row, "pooled_rate", "pooled_low",
                                                              "pooled_high"),
        "judge's weight there": lambda row: number(row["pooled_weight"])})


def reference_table(rows: Sequence[Row]) -> str:
    """Reconstructed leaderboard score: how often a judge ranks the answer above the reference."""
    if not rows:
        return "The held-out prompts of this run carry no reference answers."
    return markdown_table(rows, {
        "system": "system", "judge": "judge",
        "above the reference [95 %]": lambda row: interval(row, "reconstructed_score"), "n": "n"})


def _pairs(pairs: Sequence[Sequence[str]]) -> str:
    return ", ".join(" / ".join(pair) for pair in pairs) or "none"
