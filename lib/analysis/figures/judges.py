"""Calibration of the judges, and what pairs of judges share beyond the reader.

In: rows of the audit's `calibration` and of `judge_pairs` in results.json.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from lib.analysis.figures.theme import (
    EVEN_LINE,
    add_marks,
    between,
    columns,
    looks,
    style_figure,
)
from lib.runtime.files import Row


def calibration_figure(rows: Sequence[Row]) -> go.Figure:
    """Share of pairs that each judge orders as the reader does, by the judge's confidence."""
    figure, shown = go.Figure(), looks([row["judge"] for row in rows])
    for row in rows:
        confidence, hits, counts = columns(row["bins"], "confidence", "hit", "n")
        add_marks(figure, row["judge"], shown[row["judge"]], confidence, hits,
                  mode="lines+markers", customdata=counts,
                  hovertemplate="claims %{x:.2f}, right %{y:.2f}, n = %{customdata}")
    figure.add_scatter(x=[0.5, 1], y=[0.5, 1], mode="lines", name="calibrated",
                       line=EVEN_LINE)
    finding = "; ".join(f"the {row['judge']} is {_confidence(row)}" for row in rows)
    style_figure(figure, finding[:1].upper() + finding[1:], "n = " + ", ".join(
        f"{row['n']} pairs ({row['judge']})" for row in rows) + " that the reader separates",
        "confidence: sigmoid of the score gap", "share ordered like the reader")
    figure.update_xaxes(range=[0.5, 1], tickformat=".0%")
    return figure.update_yaxes(tickformat=".0%")


def judge_pairs_figure(rows: Sequence[Row]) -> go.Figure:
    """How far one judge's rate for another's picks lies above the reader's, by what they share."""
    rows = [row for row in rows if row["partial"] is not None]  # not of a judge that says one thing
    figure, roles = go.Figure(), {"selector", "judge"}
    kinds = {"this run's selector and judge": [row for row in rows if _judges(row) == roles],
             "another pair": [row for row in rows if _judges(row) != roles]}
    shown = looks(list(kinds))
    for kind, some in kinds.items():
        shared, flattery, *ends = columns(some, "partial", "flattery", "flattery_low",
                                          "flattery_high")
        add_marks(figure, kind, shown[kind], shared, flattery, ends,
                  customdata=[f"picked by {row['judge_a']}, judged by {row['judge_b']}"
                              for row in some],
                  hovertemplate="%{customdata}: shared %{x:.2f}, above the reader %{y:.2f}")
    ordered = sorted(rows, key=lambda row: row["partial"])
    least, most = ordered[0], ordered[-1]
    style_figure(
        figure, f"Where two judges share {most['partial']:.2f} beyond the reader, one rates the "
        f"other's picks {_points(most['flattery'])} above the reader; where they share "
        f"{least['partial']:.2f}, {_points(least['flattery'])}",
        f"n = {between(row['prompts'] for row in rows)} prompts, best of "
        f"{between(row['n_candidates'] for row in rows)}; 95 % intervals over prompts",
        "correlation of two judges within a prompt, without the reader's part",
        "win rate by the judge above that by the reader")
    figure.add_hline(y=0, line=EVEN_LINE)
    return figure


def _points(share: float) -> str:
    return f"{round(100 * share) or 0:+d} points"  # never -0


def _judges(row: Row) -> set[str]:
    return {row["judge_a"], row["judge_b"]}


def _confidence(row: Row) -> str:
    """How sure a judge is, called by the interval of its temperature; earlier results have none."""
    low, high = row.get("temperature_low", 0), row.get("temperature_high", 1000)
    word = "over-confident" if low > 1 else "under-confident" if high < 1 else (
        "not shown to be over- or under-confident")
    ends = f" [{low:.2f}, {high:.2f}]" if "temperature_low" in row else ""
    return (f"right in {row['accuracy']:.0%} of pairs and {word} (best temperature "
            f"{row['temperature']:.2f}{ends})")
