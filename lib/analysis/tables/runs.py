"""Tables of two runs side by side: settings, prompts that moved, the gate's verdicts.

Rows of comparison.json in, Markdown out; the statistics are computed elsewhere.
"""

from collections.abc import Sequence

from lib.analysis.comparisons.runs import LOSES, PASSES
from lib.analysis.tables.formatting import (
    bullets,
    format_number,
    format_rate,
    markdown_table,
    number_of,
    versus,
)
from lib.runtime.files import Row

MOST = 5  # prompts shown at either end
SHORT = 60  # characters of a prompt


def settings_table(rows: Sequence[Row]) -> str:
    """What differs between the runs: look for more than you meant to change."""
    return markdown_table(rows, {"what differs": "setting", "a": "a", "b": "b", "in": "stages"},
                          "No setting, input or package differs.")


def moved_table(rows: Sequence[Row]) -> str:
    """The prompts whose score moved most, the worst for b first.

    They stand here because they moved, so another draw of answers would move them less.
    """
    shown = rows if len(rows) <= 2 * MOST else [*rows[:MOST], *rows[-MOST:]]
    return markdown_table(shown, {
        "prompt": "id", "it asks": lambda row: _short(row["prompt"]),
        "b's win rate": number_of("win_rate"), "score in a": number_of("score_a"),
        "score in b": number_of("score_b"), "change": number_of("change")},
        "No prompt was judged in both runs.")


def gate_findings(rows: Sequence[Row]) -> str:
    """The gate in sentences: look at whether b loses more, or too few prompts leave it open."""
    return bullets([_verdict(row) for row in rows])


def _verdict(row: Row) -> str:
    least = format_number(0.5 - row["margin"])
    found = f"{versus(row)}: {format_rate(row)}, n = {row['n']:,}"
    if not row["n"]:
        return f"fails: {versus(row)}: no prompt has a verdict on both answers."
    if row["verdict"] == PASSES:
        return f"passes: {found}; the interval stays above {least}."
    if row["verdict"] == LOSES:
        return f"fails: {found}; the whole interval lies below {least}."
    if row["enough"] is None:
        return f"fails: {found}; the rate lies below {least}, though its interval does not."
    return (f"fails: {found}; a rate below {least} cannot be ruled out. At this rate about "
            f"{row['enough']:,} prompts would rule it out.")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT].rstrip()}…"
