"""Tables of the judges: accuracy, agreement, calibration, corrected win rates.

Rows of `results.json` in, Markdown out; the statistics are computed elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lib.analysis.tables.formatting import (
    Columns,
    crossed_table,
    format_number,
    interval,
    interval_of,
    markdown_table,
    number_of,
    versus,
    with_n,
)
from lib.runtime.files import Row

NOT_FITTED = "This run did not fit its reward models, so their unseen pairs are not known."
AGREEMENT: Columns = {"agree": number_of("agreement"), "kappa": number_of("kappa"),
                      "AC1": number_of("ac1")}


def reward_models_table(rows: Sequence[Row]) -> str:
    """Accuracy of each reward model on pairs that it was not fitted on: look for above .50."""
    return markdown_table(rows, {
        "model": "model", "tested on": "tested_on", "pairs": "pairs",
        "accuracy [95 %]": lambda row: with_n(row, "accuracy")}, NOT_FITTED)


def slices_table(reports: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Accuracy of reward models by score gap and source: look at what length alone would get.

    reports: {model: {test set: report of `judges.reward_models.head_report`}}, a column a test.
    Dividing the score differences by the temperature calibrates them.
    """
    rows = [{"pairs": label, "test": f"{model} on {name}", "cell": cell}
            for model, tested in reports.items() for name, report in tested.items()
            for label, cell in _slices(report)]
    return crossed_table(rows, "pairs", lambda row: row["test"], lambda row: row["cell"],
                         NOT_FITTED)


def judge_quality_table(rows: Sequence[Row]) -> str:
    """A judge's accuracy on the reader's pairs: look at how it grows with the reader's gap."""
    return markdown_table(rows, {
        "judge": "judge", "reader's gap of at least": lambda row: f"{row['gap']:g}", "pairs": "n",
        "accuracy [95 %]": interval_of("accuracy")})


def system_order_table(rows: Sequence[Row]) -> str:
    """The systems' rankings by reader and judge: look at the pairs that the judge reverses."""
    return markdown_table(rows, {
        "judge": "judge", "Kendall's tau": number_of("kendall_tau"),
        "reader, best first": lambda row: ", ".join(row["reader_order"]),
        "judge, best first": lambda row: ", ".join(row["judge_order"]),
        "reversed by the judge": lambda row: _pairs(row["turned"]),
        "of these, significant by the reader": lambda row: _pairs(row.get("turned_surely", []))})


def judge_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of two judges on wins, ties and losses: look at kappa, which discounts chance."""
    return markdown_table(rows, {"comparison": versus, "judges": _judges, "n": "n", **AGREEMENT})


def audit_agreement_table(rows: Sequence[Row]) -> str:
    """Agreement of reader and judges on the audit: look at whether kappa is well above 0."""
    return markdown_table(rows, {"on the audit": _judges, "comparisons": "n", **AGREEMENT},
                          "This run did not measure agreement on the audit's comparisons.")


def calibration_table(rows: Sequence[Row]) -> str:
    """Calibration of each judge's score gaps: look for a temperature whose interval lies above 1.

    Such a judge is over-confident. A calibration error counts where it exceeds what a perfect
    model shows on as many pairs.
    """
    return markdown_table(rows, {
        "judge": "judge", "pairs": "n", "accuracy": number_of("accuracy"),
        "expected calibration error": number_of("ece", 3), "a perfect model's": _perfect_error,
        "Brier": number_of("brier", 3), "log loss": number_of("nll", 3),
        "temperature [95 %]": interval_of("temperature", "temperature"),
        "log loss at that temperature": number_of("nll_at_temperature", 3)})


def length_bias_table(rows: Sequence[Row]) -> str:
    """How often each judge prefers the longer answer: look at who exceeds the reader."""
    return markdown_table(rows, {"judge": "judge", "pairs of unequal length": "n",
                                 "prefers the longer [95 %]": interval_of("prefers_longer")})


def corrected_table(rows: Sequence[Row], win_rates: Sequence[Row],
                    reader: str = "reader, earlier answers") -> str:
    """Win rates corrected for the judge's errors: look at which intervals still exclude .50.

    reader: what the reader's own rate is called.
    """
    raw = {(row["a"], row["b"], row["judge"]): row for row in win_rates}
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge",
        "as judged [95 %]": lambda row: with_n(raw.get((row["a"], row["b"], row["judge"]))),
        "minus the judge's mean error [95 %]": lambda row: interval(row, "win_rate", "low", "high"),
        f"{reader} [95 %]": interval_of("reader_rate", "reader"),
        "pooled with the reader [95 %]": interval_of("pooled_rate", "pooled"),
        "judge's weight in pooling": number_of("pooled_weight")},
        "No reader has read two prompts of a comparison of this run.")


def position_bias_table(rows: Sequence[Row]) -> str:
    """What the order of two answers does to a chat model: look for a first share off .50.

    Then at how far the rate of one order lies from the rate that counts.
    """
    return markdown_table(rows, {
        "comparison": lambda row: "all" if row["a"] is None else versus(row), "judge": "judge",
        "pairs of different answers": "n",
        "the answer shown first wins [95 %]": interval_of("first_share", "first"),
        "winner changes with the order": number_of("inconsistent"),
        "rate, shown first [95 %]": interval_of("shown_first", "shown_first"),
        "rate, shown second [95 %]": interval_of("shown_second", "shown_second"),
        "rate that counts [95 %]": interval_of("win_rate")},
        "No chat model gave a verdict on different answers of this run (rewards.judge=llm).")


def chat_judge_sentence(costs: Row) -> str:
    """Which chat model judged, how its verdicts were read, what is missing, what it cost."""
    price = f", for {costs['price']:,.4f} by the prices given" if costs["price"] else ""
    how = f"{costs['by_logprobs']:,} of them from log-probabilities" if costs["by_logprobs"] else \
        "all of them hard"
    return (f"{costs['model']} judged by the {costs['style']} setting: "
            f"{costs['questions'] - costs['missing']:,} verdicts of {costs['questions']:,} asked, "
            f"{how}; {costs['missing']:,} missing (never ties), {costs['equal_texts']:,} pairs of "
            f"equal text tied without a question. {costs['calls']:,} calls, "
            f"{costs['tokens_read']:,} tokens read, {costs['tokens_written']:,} written{price}.")


def reference_table(rows: Sequence[Row]) -> str:
    """Reconstructed leaderboard score: look at how often an answer beats the reference answer."""
    return markdown_table(rows, {
        "system": "system", "judge": "judge",
        "above the reference [95 %]": interval_of("reconstructed_score"), "n": "n"},
        "The held-out prompts of this run have no reference answers.")


def _slices(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, cell) of each line of one report's column."""
    for row in report["by_gap"]:
        yield f"a gap of {row['gap_at_least']:g} or more", with_n(row, "value")
    for row in report["by_source"]:
        yield row["source"], with_n(row, "value")
    yield "by length alone", with_n(report["length_alone"], "value")
    calibration = report["calibration"]
    yield "calibration error", format_number(calibration["ece"])
    yield "a perfect model's", _perfect_error(calibration)
    yield "temperature", interval(calibration, "temperature", "temperature_low", "temperature_high")


def _perfect_error(row: Mapping[str, Any]) -> str:
    """`.031, below .049 in 95 %`; earlier results do not say."""
    if "ece_floor" not in row:
        return format_number(None)
    mean, high = (format_number(row[key], 3) for key in ("ece_floor", "ece_floor_high"))
    return f"{mean}, below {high} in 95 %"


def _judges(row: Row) -> str:
    return f"{row['judge_a']}, {row['judge_b']}"


def _pairs(pairs: Sequence[Sequence[str]]) -> str:
    return ", ".join(" / ".join(pair) for pair in pairs) or "none"
