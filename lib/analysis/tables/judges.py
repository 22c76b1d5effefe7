"""Tables of what the judges are worth: accuracy, agreement, calibration, corrected win rates.

Rows of `results.json` in, Markdown out; nothing is computed here but wording.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lib.analysis.tables.formatting import (
    format_number,
    interval,
    interval_of,
    markdown_table,
    number_of,
    versus,
    with_n,
)
from lib.runtime.files import Row

NOT_FITTED = "The reward models of this run were not fitted here, so no unseen pairs are known."
AGREEMENT = {"agree": number_of("agreement"), "kappa": number_of("kappa"), "AC1": number_of("ac1")}


def reward_models_table(rows: Sequence[Row]) -> str:
    """Accuracy of each reward model on pairs that it was not fitted on: look for more than .50."""
    return markdown_table(rows, {
        "model": "model", "tested on": "tested_on", "pairs": "pairs",
        "accuracy [95 %]": lambda row: with_n(row, "accuracy")}) if rows else NOT_FITTED


def slices_table(reports: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Accuracy of reward models by score gap and source: look at what length alone would get.

    reports: {model: {test set: report of `judges.reward_models.head_report`}}, a column a test. The
    temperature is what differences are best divided by.
    """
    columns = {f"{model} on {name}": dict(_slices(report))
               for model, tested in reports.items() for name, report in tested.items()}
    labels = dict.fromkeys(label for cells in columns.values() for label in cells)
    rows = [{"pairs": label} | {heading: cells.get(label) for heading, cells in columns.items()}
            for label in labels]
    return markdown_table(rows, {heading: heading for heading in ("pairs", *columns)}) \
        if reports else NOT_FITTED


def judge_quality_table(rows: Sequence[Row]) -> str:
    """A judge's accuracy on the reader's pairs: look at how it grows with the reader's gap."""
    return markdown_table(rows, {
        "judge": "judge", "reader's gap of at least": lambda row: f"{row['gap']:g}", "pairs": "n",
        "accuracy [95 %]": interval_of("accuracy"), "kappa": AGREEMENT["kappa"],
        "AC1": AGREEMENT["AC1"]})


def system_order_table(rows: Sequence[Row]) -> str:
    """Orders of the systems, by reader and judge: look at the pairs that the judge turns round."""
    return markdown_table(rows, {
        "judge": "judge", "Kendall's tau": number_of("kendall_tau"),
        "reader, best first": lambda row: ", ".join(row["reader_order"]),
        "judge, best first": lambda row: ", ".join(row["judge_order"]),
        "the other way round": lambda row: _pairs(row["turned"]),
        "of these the reader is sure of": lambda row: _pairs(row.get("turned_surely", []))})


def judge_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of two judges on wins, ties and losses: look at kappa, which takes chance out."""
    return markdown_table(rows, {"comparison": versus, "judges": _judges, "n": "n"} | AGREEMENT)


def audit_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of reader and judges on the audit: look at whether kappa is well above 0."""
    if not rows:
        return "This run did not ask how far reader and judges agree on the audit's comparisons."
    return markdown_table(rows, {"on the audit": _judges, "comparisons": "n"} | AGREEMENT)


def calibration_table(rows: Sequence[Row]) -> str:
    """Calibration of each judge's score gaps: look for a temperature above 1, over-confidence."""
    return markdown_table(rows, {
        "judge": "judge", "pairs": "n", "accuracy": number_of("accuracy"),
        "expected calibration error": number_of("ece", 3), "Brier": number_of("brier", 3),
        "log loss": number_of("nll", 3), "temperature": number_of("temperature", 2),
        "log loss there": number_of("nll_at_temperature", 3)})


def length_bias_table(rows: Sequence[Row]) -> str:
    """How often each judge prefers the longer answer: look at who lies above the reader."""
    return markdown_table(rows, {"judge": "judge", "pairs of unequal length": "n",
                                 "prefers the longer [95 %]": interval_of("prefers_longer")})


def corrected_table(rows: Sequence[Row], win_rates: Sequence[Row]) -> str:
    """Win rates corrected for the judge's errors: look at which intervals still leave out .50."""
    raw = {(row["a"], row["b"], row["judge"]): row for row in win_rates}
    if not rows:
        return "No comparison of this run was read by the blind reader."
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge",
        "as judged [95 %]": lambda row: with_n(raw.get((row["a"], row["b"], row["judge"]))),
        "minus the judge's mean error [95 %]": lambda row: interval(row, "win_rate", "low", "high"),
        "reader, earlier answers [95 %]": interval_of("reader_rate", "reader"),
        "pooled with the reader [95 %]": interval_of("pooled_rate", "pooled"),
        "judge's weight there": number_of("pooled_weight")})


def reference_table(rows: Sequence[Row]) -> str:
    """Reconstructed leaderboard score: look at how often answers beat the reference by a judge."""
    if not rows:
        return "The held-out prompts of this run carry no reference answers."
    return markdown_table(rows, {
        "system": "system", "judge": "judge",
        "above the reference [95 %]": interval_of("reconstructed_score"), "n": "n"})


def _slices(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, cell) of each line of one report's column."""
    for row in report["by_gap"]:
        yield f"a gap of {row['gap_at_least']:g} or more", with_n(row, "value")
    for row in report["by_source"]:
        yield row["source"], with_n(row, "value")
    yield "by length alone", with_n(report["length_alone"], "value")
    yield "calibration error", format_number(report["calibration"]["ece"])
    yield "temperature", format_number(report["calibration"]["temperature"])


def _judges(row: Row) -> str:
    return f"{row['judge_a']}, {row['judge_b']}"


def _pairs(pairs: Sequence[Sequence[str]]) -> str:
    return ", ".join(" / ".join(pair) for pair in pairs) or "none"
