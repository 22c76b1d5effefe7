"""All systems against all: Bradley-Terry ratings with intervals, and the matrix of win rates.

In: rows of `ratings` and `round_robin` in results.json.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from lib.analysis.figures.theme import GREY, SYMBOLS, colours, error_bars, framed

Row = dict[str, Any]


def ratings_figure(rows: Sequence[Row]) -> go.Figure:
    """Ratings of all systems on Elo's scale with intervals, a mark a judge, best on top."""
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    names = [row["system"] for row in rows if row["judge"] == judges[0]]
    figure, shade = go.Figure(), colours(judges)
    for place, judge in enumerate(judges):
        mine = [row for row in rows if row["judge"] == judge]
        offset = (place - (len(judges) - 1) / 2) * 0.22
        figure.add_scatter(
            x=[row["elo"] for row in mine], mode="markers", name=judge,
            y=[names.index(row["system"]) + offset for row in mine],
            marker={"color": shade[judge], "symbol": SYMBOLS[place], "size": 9},
            error_x=error_bars(*([row[key] for row in mine]
                                 for key in ("elo", "elo_low", "elo_high"))))
    figure.add_vline(x=0, line={"dash": "dot", "color": GREY})
    framed(figure, _best_by_judge(rows, judges), "Bradley-Terry over all pairs, ties half; 95 % "
           "intervals from resampled prompts; 400 points are odds of ten to one", "rating", "")
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, zeroline=False,
                        range=[len(names) - 0.5, -0.5])
    return figure.update_layout(height=220 + 38 * len(names))


def round_robin_figure(rows: Sequence[Row], systems: Sequence[str], judge: str) -> go.Figure:
    """Share of prompts that each system (row) wins against each other (column) by one judge."""
    rates = {(row["a"], row["b"]): row for row in rows if row["judge"] == judge}
    mirrored = {(b, a): 1 - row["win_rate"] for (a, b), row in rates.items()}
    cells = {pair: row["win_rate"] for pair, row in rates.items()} | mirrored
    values = [[cells.get((row, column)) for column in systems] for row in systems]
    figure = go.Figure(go.Heatmap(
        z=values, x=list(systems), y=list(systems), zmin=0, zmax=1, colorscale="RdBu_r",
        texttemplate="%{z:.2f}", hovertemplate="%{y} over %{x}: %{z:.3f}<extra></extra>",
        colorbar={"title": "share won", "tickformat": ".0%"}))
    decided = sum(row["ci_low"] > 0.5 or row["ci_high"] < 0.5 for row in rates.values())
    n = sorted({row["n"] for row in rates.values()})
    framed(figure, f"{decided} of {len(rates)} comparisons by the {judge} have an interval that "
           "leaves out one half", f"n = {n[-1]} prompts a cell; row over column; not corrected for "
           "asking so many questions", "over", "")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(height=260 + 32 * len(systems))


def _best_by_judge(rows: Sequence[Row], judges: Sequence[str]) -> str:
    parts = []
    for judge in judges:
        ranked = sorted((row for row in rows if row["judge"] == judge), key=lambda row: -row["elo"])
        clear = ranked[0]["elo_low"] > ranked[1]["elo_high"] if len(ranked) > 1 else True
        word = "clearly first" if clear else f"first, but not clear of {ranked[1]['system']}"
        parts.append(f"by the {judge} {ranked[0]['system']} is {word}")
    return "; ".join(parts)
