"""Tables of what Best-of-N buys: by its selector, by a judge, and by a reader.

Rows of `results.json` in, Markdown out; the statistics are computed elsewhere.
"""

from collections.abc import Sequence

from lib.analysis.tables.formatting import (
    format_number,
    interval,
    interval_of,
    markdown_table,
    number_of,
)
from lib.runtime.files import Row

NOT_MEASURED = "This run did not measure that."


def best_over_random_table(rows: Sequence[Row]) -> str:
    """Best-of-N over a random one of the same: look at how much less it wins by another judge.

    By the selector it is arithmetic; by a judge it follows from their correlation.
    """
    return markdown_table(rows, {
        "Best-of-N": "system", "judge": "judge", "prompts": "prompts",
        "wins over a random one of the same [95 %]": interval_of("value"),
        "correlation with the selector": number_of("correlation"),
        "normal scores so correlated give": number_of("arithmetic")}, NOT_MEASURED)


def over_optimisation_table(rows: Sequence[Row]) -> str:
    """Gao's fit of the long curve: look at whether the judge's peak lies inside what was measured.

    The share of resampled prompts with a peak inside says how sure that is.
    """
    return markdown_table(rows, {
        "pool": "policy", "judge": "judge", "prompts": "prompts", "candidates": "candidates",
        "alpha [95 %]": lambda row: interval(row, "alpha", "alpha_low", "alpha_high"),
        "beta [95 %]": lambda row: interval(row, "beta", "beta_low", "beta_high"),
        "largest n": lambda row: row["points"][-1]["n"],
        "its KL": lambda row: format_number(row["points"][-1]["kl"], 2),
        "at most": lambda row: format_number(row["points"][-1]["kl_bound"], 2),
        "peak at d": lambda row: "not in range" if row["peak_distance"] is None else
            f"{row['peak_distance']:.2f} (gain {row['peak_gain']:.2f})",
        "resamples with a peak": number_of("peak_inside", 2)},
        "No long curve: this run has no pool of 16 or more candidates; "
        "`--set evaluation.deep_samples=64` samples one for notebook 04.")


def correlations_table(rows: Sequence[Row]) -> str:
    """What each two judges share: look at how much is left without the reader's part.

    Within a prompt; 0 is left of two judges whose errors have nothing in common.
    """
    return markdown_table(rows, {
        "answers": "answers", "judges": lambda row: f"{row['judge_a']}, {row['judge_b']}",
        "prompts": "prompts", "scored answers": "answers_scored",
        "correlation [95 %]": interval_of("correlation"),
        "without the reader's part [95 %]": lambda row: interval(
            row, "partial", "partial_low", "partial_high")}, NOT_MEASURED)


def judge_pairs_table(rows: Sequence[Row]) -> str:
    """Pairs of judges, the most alike first: look at what is shared without the reader's part.

    The first one picks; how far the second one's rate lies above the reader's is flattery.
    """
    return markdown_table(sorted(rows, key=lambda row: -(row["partial"] or 0)), {
        "judges": lambda row: f"{row['judge_a']}, {row['judge_b']}",
        "correlation [95 %]": interval_of("correlation"),
        "without the reader's part [95 %]": interval_of("partial", "partial"),
        "each with the reader": lambda row: ", ".join(
            format_number(row[key], 2) for key in ("reader_a", "reader_b")),
        "the first one's best of N wins by the second: forecast": number_of("judge_forecast", 2),
        "observed [95 %]": interval_of("judge_value", "judge"),
        "by the reader: forecast": number_of("reader_forecast", 2),
        "observed by the reader [95 %]": interval_of("reader_value", "reader")}, NOT_MEASURED)
