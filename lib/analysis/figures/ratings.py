"""All systems against all: Bradley-Terry ratings with intervals, and the matrix of win rates.

In: rows of `ratings` and `round_robin` in results.json.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from lib.analysis.figures.theme import (
    EVEN_LINE,
    add_marks,
    between,
    columns,
    in_two_lines,
    looks,
    readable,
    style_figure,
)
from lib.runtime.files import Row

WINS_GREEN = "PRGn"  # purple loses, white is even, green wins: no colour of a judge


def ratings_figure(rows: Sequence[Row]) -> go.Figure:
    """Ratings of all systems on Elo's scale with intervals, a mark a judge, best on top."""
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    names = list(dict.fromkeys(row["system"] for row in rows))  # in the first judge's order
    figure, shown = go.Figure(), looks(judges)
    for place, judge in enumerate(judges):
        mine = [row for row in rows if row["judge"] == judge]
        offset = (place - (len(judges) - 1) / 2) * 0.22
        elo, *ends = columns(mine, "elo", "elo_low", "elo_high")
        add_marks(figure, judge, shown[judge], elo,
                  [names.index(row["system"]) + offset for row in mine], ends, "x")
    figure.add_vline(x=0, line=EVEN_LINE)
    style_figure(figure, _best_by_judge(rows, judges), "Bradley-Terry over all comparisons; "
                 "95 % intervals from resampled prompts; 400 points are odds of ten to one",
                 "rating", "", plot_height=38 * len(names))
    return figure.update_yaxes(tickvals=list(range(len(names))), zeroline=False,
                               ticktext=[readable(name) for name in names],
                               range=[len(names) - 0.5, -0.5])


def round_robin_figure(rows: Sequence[Row], judge: str) -> go.Figure:
    """Share of prompts that each system (row) wins against each other (column) by one judge."""
    rates = {(row["a"], row["b"]): row for row in rows if row["judge"] == judge and row["n"]}
    systems = list(dict.fromkeys(name for a, b in rates for name in (b, a)))
    mirrored = {(b, a): 1 - row["win_rate"] for (a, b), row in rates.items()}
    cells = {pair: row["win_rate"] for pair, row in rates.items()} | mirrored
    values = [[cells.get((row, column)) for column in systems] for row in systems]
    figure = go.Figure(go.Heatmap(
        z=values, x=[readable(name) for name in systems],
        y=[in_two_lines(name) for name in systems], zmin=0, zmax=1, colorscale=WINS_GREEN,
        showscale=False, texttemplate="%{z:.2f}",
        hovertemplate="%{y} over %{x}: %{z:.3f}<extra></extra>"))
    decided = sum(not row["ci_low"] <= 0.5 <= row["ci_high"] for row in rates.values()
                  if row["ci_low"] is not None)
    style_figure(figure, f"{decided} of {len(rates)} comparisons by the {judge} have an interval "
                 "that excludes one half",
                 "exploratory: share that the row's system wins over the column's, green wins, "
                 f"purple loses; n = {between(row['n'] for row in rates.values())} prompts a cell; "
                 "not corrected for multiple tests",
                 "", "", plot_height=100 + 36 * len(systems))  # the names below take the 100
    figure.update_xaxes(tickangle=-90, side="bottom", ticks="")
    return figure.update_yaxes(autorange="reversed", ticks="")


def _best_by_judge(rows: Sequence[Row], judges: Sequence[str]) -> str:
    parts = []
    for judge in judges:
        ranked = sorted((row for row in rows if row["judge"] == judge), key=lambda row: -row["elo"])
        clear = ranked[0]["elo_low"] > ranked[1]["elo_high"] if len(ranked) > 1 else True
        first, *rest = (readable(row["system"]) for row in ranked)
        word = "clearly first" if clear else f"first, but not clear of {rest[0]}"
        parts.append(f"{first} is {word}, by the {judge}")
    return "; ".join(parts)
