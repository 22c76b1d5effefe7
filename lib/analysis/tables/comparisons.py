"""Tables of who wins: power, intervals, ratings, one opponent, sources, selection, seeds.

Rows of `results.json` in, Markdown out; nothing is computed here but wording.
"""

from collections.abc import Sequence
from typing import Any

from lib.analysis.best_of_n.selection_effects import excess_of
from lib.analysis.tables.formatting import (
    interval,
    length_controlled,
    markdown_table,
    number,
    p_value,
    rate,
    settle,
    versus,
    with_n,
)

Row = dict[str, Any]


def power_table(rows: Sequence[Row]) -> str:
    """Undecided comparisons with the prompts that would settle them (power .8, two-sided .05)."""
    undecided = [row for row in rows if row["ci_low"] <= 0.5 <= row["ci_high"]]
    if not undecided:
        return "No comparison is undecided."
    return markdown_table(undecided, {
        "undecided comparison": versus, "judge": "judge", "win rate [95 %]": rate, "n": "n",
        "what would settle it": settle})


def intervals_table(rows: Sequence[Row]) -> str:
    """The three intervals of each comparison, and what length does to its judge."""
    return markdown_table(rows, {
        "comparison": versus, "n": "n", "score interval (reported)": rate,
        "Wilson": lambda row: interval(row, "win_rate", "wilson_low", "wilson_high"),
        "bootstrap over prompts": lambda row: interval(row, "win_rate", "bootstrap_low",
                                                       "bootstrap_high"),
        "tokens, a / b": lambda row: " / ".join(
            number(row[key], 0) for key in ("mean_tokens_a", "mean_tokens_b")),
        "length coefficient": lambda row: number(row["length_coefficient"]),
        "length-controlled [95 %]": length_controlled})


def ratings_table(rows: Sequence[Row]) -> str:
    """Bradley-Terry strengths of all systems, a column a judge, in the order of the first judge."""
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    found = {(row["judge"], row["system"]): row for row in rows}
    names = [row["system"] for row in rows if row["judge"] == judges[0]]
    return markdown_table([{"system": name} for name in names], {"system": "system"} | {
        judge: lambda row, judge=judge: _strength(found.get((judge, row["system"])))
        for judge in judges})


def same_opponent_table(rows: Sequence[Row]) -> str:
    """McNemar's tests: prompts on which one of two systems does better against one opponent."""
    return markdown_table(rows, {
        "first": "first", "second": "second", "against": "opponent", "judge": "judge",
        "first does better": "b", "second does better": "c",
        "mid-p": lambda row: p_value(row["mid_p"]), "Holm p": lambda row: p_value(row["holm_p"]),
        "power": _settled_by})


def sources_table(rows: Sequence[Row], a: str, b: str) -> str:
    """One comparison within each source of prompts, a column a judge."""
    chosen = [row for row in rows if (row["a"], row["b"]) == (a, b)]
    judges = list(dict.fromkeys(row["judge"] for row in chosen))
    found = {(row["judge"], row["source"]): row for row in chosen}
    sources = list(dict.fromkeys(row["source"] for row in chosen))
    return markdown_table([{"source": source} for source in sources], {
        "source": "source",
        **{f"{a} over {b}, {judge} [95 %]": lambda row, judge=judge: with_n(
            found.get((judge, row["source"]))) for judge in judges}})


def selection_table(rows: Sequence[Row]) -> str:
    """Observed Best-of-N rates beside what selection alone predicts, and the excess of the two."""
    known = all("excess" in row for row in rows)  # not in results of earlier versions
    null = {"equal policies, judged by the selector": lambda row: number(row["null"])}
    excess = {"excess [95 %]": lambda row: interval(row, "excess", "excess_low", "excess_high")}
    return markdown_table(rows, {
        "Best-of-N": "system", "over": "opponent", "judge": "judge", **(null if known else {}),
        "one random draw wins": lambda row: number(row["single"]),
        "follows the selector by": lambda row: number(row["correlation"]),
        "selection alone predicts": lambda row: number(row["predicted"]),
        "observed [95 %]": lambda row: with_n(row, "observed"), **(excess if known else {}),
        "reading": _selection_reading})


def complementarity_table(rows: Sequence[Row]) -> str:
    """The interaction of DPO and Best-of-N on each judge's own scale."""
    return markdown_table(rows, {
        "judge": "judge", "n": "n",
        "Best-of-N adds to DPO": lambda row: number(row["gain_with"]),
        "Best-of-N adds to SFT": lambda row: number(row["gain_without"]),
        "difference [95 %]": lambda row: interval(row, "mean", "low", "high"),
        "reading": _interaction_reading})


def seeds_table(rows: Sequence[Row]) -> str:
    """Each comparison over seeds: every seed's rate, their spread, and the interval over both."""
    if not rows:
        return "One seed was run; `--seeds 3` trains and samples again and adds the spread."
    return markdown_table(rows, {
        "comparison": versus, "judge": "judge", "n": "n",
        "rate of each seed": lambda row: ", ".join(number(value) for value in row["per_seed"]),
        "spread over seeds (sd)": lambda row: number(row["between_seeds"], 3),
        "first seed [95 %, prompts alone]": lambda row: interval(row, "first", "first_low",
                                                                 "first_high"),
        "mean [95 %, seeds and prompts]": lambda row: interval(row, "mean", "low", "high")})


def _strength(row: Row | None) -> str:
    if row is None:
        return number(None)
    mark = " *" if row["prior"] else ""
    return f"{row['elo']:+.0f} [{row['elo_low']:+.0f}, {row['elo_high']:+.0f}]{mark}"


def _selection_reading(row: Row) -> str:
    if row["predicted"] is None:
        return "scores never vary"
    _, low, high = excess_of(row)
    if low <= 0 <= high:
        return "selection can explain it"
    return "above selection" if low > 0 else "below selection"


def _settled_by(row: Row) -> str:
    """The prompts that would settle a test that found nothing; results before may have none."""
    if row["mid_p"] < 0.05:
        return "settled, but not after Holm's correction" if row["holm_p"] >= 0.05 else "settled"
    return settle(row) if "prompts_needed" in row else number(None)


def _interaction_reading(row: Row) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "undecided: no interaction shown"
    return "complementary" if row["low"] > 0 else "they overlap"
