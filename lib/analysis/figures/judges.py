"""Figures of the judges: the rates that selection alone predicts, and calibration.

In: rows of `selection_effects` and of the audit's `calibration` in results.json.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from lib.analysis.best_of_n.selection_effects import excess_of
from lib.analysis.figures.theme import EVEN_LINE, add_marks, columns, looks, readable, style_figure
from lib.runtime.files import Row


def selection_figure(rows: Sequence[Row]) -> go.Figure:
    """Observed win rates of Best-of-N against what selection alone predicts, a mark a judge."""
    known = [row for row in rows if row["predicted"] is not None]
    judges = list(dict.fromkeys(row["judge"] for row in known))
    figure, shown = go.Figure(), looks(judges)
    for judge in judges:
        mine = [row for row in known if row["judge"] == judge]
        predicted, observed, *ends = columns(mine, "predicted", "observed", "ci_low", "ci_high")
        add_marks(figure, judge, shown[judge], predicted, observed, ends,
                  customdata=[f"{readable(row['system'])} over {readable(row['opponent'])}"
                              for row in mine],
                  hovertemplate="%{customdata}: predicted %{x:.2f}, observed %{y:.2f}")
    shares = [row[key] for row in known for key in ("predicted", "ci_low", "ci_high")]
    ends = [min(shares, default=0.0), max(shares, default=1.0)]
    figure.add_scatter(x=ends, y=ends, mode="lines", name="selection alone", line=EVEN_LINE)
    inside = sum(low <= 0 <= high for _, low, high in map(excess_of, known))
    n = max((row["n"] for row in known), default=0)
    style_figure(figure, f"Selection alone can explain {inside} of {len(known)} Best-of-N results",
                 f"n = {n} prompts each, 95 % intervals; predicted from one random draw, n and "
                 "the correlation of judge and selector",
                 "share won, predicted by selection alone", "share won, observed")
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(tickformat=".0%")


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


def _confidence(row: Row) -> str:
    word = "over-confident" if row["temperature"] > 1 else "under-confident"
    return (f"right in {row['accuracy']:.0%} of pairs and {word} (best temperature "
            f"{row['temperature']:.2f})")
