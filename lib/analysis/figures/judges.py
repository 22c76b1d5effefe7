"""Judges as pictures: what selection alone predicts, and whether score gaps mean what they say.

In: rows of `selection_effects` and of the audit's `calibration` in results.json.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from lib.analysis.best_of_n.selection_effects import excess_of
from lib.analysis.figures.theme import EVEN_LINE, error_bars, looks, readable, style_figure

Row = dict[str, Any]


def selection_figure(rows: Sequence[Row]) -> go.Figure:
    """Observed win rates of Best-of-N against what selection alone predicts, a mark a judge."""
    known = [row for row in rows if row["predicted"] is not None]
    judges = list(dict.fromkeys(row["judge"] for row in known))
    figure, shown = go.Figure(), looks(judges)
    for judge in judges:
        mine = [row for row in known if row["judge"] == judge]
        bars = error_bars(*([row[key] for row in mine]
                            for key in ("observed", "ci_low", "ci_high")))
        figure.add_scatter(
            x=[row["predicted"] for row in mine], y=[row["observed"] for row in mine],
            error_y=bars, mode="markers", name=judge,
            marker={"color": shown[judge][0], "symbol": shown[judge][1], "size": 9},
            customdata=[f"{readable(row['system'])} over {readable(row['opponent'])}"
                        for row in mine],
            hovertemplate="%{customdata}: predicted %{x:.2f}, observed %{y:.2f}")
    ends = _extremes(known)
    figure.add_scatter(x=ends, y=ends, mode="lines", name="selection alone", line=EVEN_LINE)
    inside = sum(low <= 0 <= high for _, low, high in map(excess_of, known))
    n = max((row["n"] for row in known), default=0)
    style_figure(figure, f"Selection alone can explain {inside} of {len(known)} Best-of-N results",
                 f"n = {n} prompts each, 95 % intervals; prediction from one random draw, n and "
                 "how far the judge follows the selector",
                 "share won, predicted by selection alone", "share won, observed")
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(tickformat=".0%")


def calibration_figure(rows: Sequence[Row]) -> go.Figure:
    """Share of pairs that each judge orders as the reader does, by how sure it claims to be."""
    figure, shown = go.Figure(), looks([row["judge"] for row in rows])
    for row in rows:
        colour, symbol = shown[row["judge"]]
        figure.add_scatter(
            x=[part["confidence"] for part in row["bins"]], y=[part["hit"] for part in row["bins"]],
            mode="lines+markers", name=row["judge"], line_color=colour,
            marker={"symbol": symbol, "size": 9},
            customdata=[part["n"] for part in row["bins"]],
            hovertemplate="claims %{x:.2f}, right %{y:.2f}, n = %{customdata}")
    figure.add_scatter(x=[0.5, 1], y=[0.5, 1], mode="lines", name="as sure as it is right",
                       line=EVEN_LINE)
    finding = "; ".join(f"the {row['judge']} is {_sureness(row)}" for row in rows)
    style_figure(figure, finding[:1].upper() + finding[1:], "n = " + ", ".join(
        f"{row['n']} pairs ({row['judge']})" for row in rows) + " that the reader separates",
        "confidence: sigmoid of the score gap", "share ordered like the reader")
    figure.update_xaxes(range=[0.5, 1], tickformat=".0%")
    return figure.update_yaxes(tickformat=".0%")


def _extremes(rows: Sequence[Row]) -> list[float]:
    """The lowest and the highest share that is drawn."""
    shares = [row[key] for row in rows for key in ("predicted", "ci_low", "ci_high")]
    return [min(shares, default=0.0), max(shares, default=1.0)]


def _sureness(row: Row) -> str:
    word = "over-confident" if row["temperature"] > 1 else "under-confident"
    return (f"right in {row['accuracy']:.0%} of pairs and {word} (best temperature "
            f"{row['temperature']:.2f})")
