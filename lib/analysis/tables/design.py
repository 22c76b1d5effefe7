"""Tables of a study's design: where a win rate's variance sits, and what an effect needs.

Rows of `results.json` in, Markdown and sentences out; the statistics are computed elsewhere.
"""

from collections.abc import Sequence

from lib.analysis.tables.formatting import (
    as_markdown,
    crossed_table,
    format_number,
    markdown_table,
    number_of,
    versus,
)
from lib.runtime.files import Row

NOT_MEASURED = "This run did not take its variance apart."


def components_table(rows: Sequence[Row]) -> str:
    """Standard deviations behind each win rate: look at which of them more prompts would lower."""
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge", "best of": "best_of", "prompts": "prompts",
        "candidates a side": "candidates",
        "between prompts": number_of("prompt_sd"), "between draws": number_of("draw_sd"),
        "between fits of the judge": number_of("judge_sd", 3), "between seeds": _seed,
        "standard error here": number_of("standard_error", 3),
        "smallest effect, this judge": number_of("smallest", 3),
        "smallest effect, any such judge": number_of("smallest_any", 3)}, NOT_MEASURED)


def sample_sizes_table(rows: Sequence[Row]) -> str:
    """Prompts for an effect, by this judge / any such judge: look for what no prompts can show.

    Power .8 at .05, two-sided. A dash: unknown, or an effect that the judge's own fit hides.
    """
    lines = [row | {"comparison and effect": f"{versus(row)}, {format_number(row['effect'])}, "
                                             f"seeds: {_seeds(row)}"} for row in rows]
    return crossed_table(lines, "comparison and effect",
                         lambda row: f"{row['candidates']} candidates a side",
                         lambda row: " / ".join(format_number(row[key]) for key in (
                             "prompts", "prompts_any")), NOT_MEASURED)


def refits_finding(rows: Sequence[Row], judge: str = "judge") -> str:
    """Of which judge the intervals speak, and how far another fit of it would move the rates."""
    mine = [row for row in rows if row["judge"] == judge]
    if not mine:
        return ("These intervals speak of this very judge; how far another fit of it would move "
                "the rates was not measured.")
    spread, floor = (_range([row[key] for row in mine]) for key in ("sd", "floor"))
    return as_markdown(
        f"These intervals speak of this very {judge}. Fitted {mine[0]['refits']} times on "
        f"resampled prompts, it gives the same answers to {mine[0]['n']} prompts win rates that "
        f"vary by a standard deviation of {spread}; no number of prompts would bring that below "
        f"{floor}.")


def _seed(row: Row) -> str:
    return "one run: unknown" if row["seed_sd"] is None else format_number(row["seed_sd"], 3)


def _seeds(row: Row) -> str:
    return "unknown from one" if row["seeds"] is None else format_number(row["seeds"])


def _range(values: Sequence[float]) -> str:
    low, high = (format_number(end, 3) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
