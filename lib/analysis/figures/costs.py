"""Pictures of what a run takes: memory by what fills it, hours by model and GPU."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from lib.analysis.figures.theme import AMBER, GREEN, GREY, OTHERS, PURPLE, SKY, style_figure

Row = dict[str, Any]
PARTS = {"sft": SKY, "dpo": AMBER, "answers": GREEN}


def memory_figure(rows: Sequence[Row]) -> go.Figure:
    """Stacked memory of each stage beside what the GPU has; rows {"stage", "kind", "gb", "of"}."""
    figure = go.Figure()
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    colours = [SKY, AMBER, GREEN, *(colour for colour, _ in OTHERS)]
    for place, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        values = {row["stage"]: row["gb"] for row in rows if row["kind"] == kind}
        figure.add_bar(x=[values[stage] for stage in stages], y=stages, orientation="h", name=kind,
                       marker_color=colours[place % len(colours)])
    there = rows[0]["of"]
    figure.add_vline(x=there, line={"dash": "dot", "color": GREY}, annotation={
        "text": f"{there:g} GB", "font_color": GREY, "xanchor": "right"})
    most = max(sum(row["gb"] for row in rows if row["stage"] == stage) for stage in stages)
    return style_figure(figure.update_layout(barmode="stack"),
                        f"At most {most:.1f} of {there:g} GB are in use",
                        f"counted, not measured; n = {len(stages)} stages", "memory (GB)", "",
                        plot_height=60 + 50 * len(stages))


def hours_figure(rows: Sequence[Row]) -> go.Figure:
    """Hours of training and sampling by model and GPU; rows as `cost_row` gives them.

    The number beside a mark is the sum; the marks are its parts, on a logarithmic axis.
    """
    figure = go.Figure()
    names = [f"{row['model']} on {row['gpu']}" for row in rows]
    for part, colour in PARTS.items():
        figure.add_scatter(x=[row[f"{part}_hours"] for row in rows], y=names, mode="markers",
                           name=part, marker={"color": colour, "size": 8})
    figure.add_scatter(
        x=[row["hours"] for row in rows], y=names, mode="markers+text", name="all three",
        text=[f" {row['hours']:,.1f} h" for row in rows], textposition="middle right",
        cliponaxis=False, textfont_color=GREY,
        marker={"color": PURPLE, "symbol": "diamond", "size": 12})
    most = max(row["hours"] for row in rows)
    slowest = [name for name, row in zip(names, rows, strict=True)
               if f"{row['hours']:,.1f}" == f"{most:,.1f}"]
    verb = "takes" if len(slowest) == 1 else "take"
    style_figure(figure, f"{' and '.join(slowest)} {verb} longest: {most:,.1f} hours in all",
                 f"computed from stated rates, not measured; n = {len(rows)} set-ups",
                 "hours (logarithmic)", "", plot_height=60 + 30 * len(rows))
    figure.update_xaxes(type="log", dtick=1)
    return figure.update_yaxes(autorange="reversed")
