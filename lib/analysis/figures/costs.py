"""Pictures of what a run takes: memory by what fills it, hours by model and GPU."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from lib.analysis.figures.theme import PALETTE, framed

Row = dict[str, Any]


def memory_figure(rows: Sequence[Row]) -> go.Figure:
    """Stacked memory of each stage beside what the GPU has; rows {"stage", "kind", "gb", "of"}."""
    figure = go.Figure()
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    for place, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        values = {row["stage"]: row["gb"] for row in rows if row["kind"] == kind}
        figure.add_bar(x=[values[stage] for stage in stages], y=stages, orientation="h", name=kind,
                       marker_color=PALETTE[place % 7])
    there = rows[0]["of"]
    figure.add_vline(x=there, line={"dash": "dot"}, annotation={"text": f"{there:g} GB"})
    most = max(sum(row["gb"] for row in rows if row["stage"] == stage) for stage in stages)
    return framed(figure.update_layout(barmode="stack"),
                  f"{most:.1f} of {there:g} GB are in use at most",
                  f"counted, n = {len(stages)} stages", "memory (GB)", "")


def hours_figure(rows: Sequence[Row]) -> go.Figure:
    """Hours of training and sampling by model and GPU; rows as `cost_row` gives them."""
    figure = go.Figure()
    names = [f"{row['model']} on {row['gpu']}" for row in rows]
    for place, part in enumerate(("sft", "dpo", "answers")):
        figure.add_bar(x=[row[f"{part}_hours"] for row in rows], y=names, orientation="h",
                       name=part, marker_color=PALETTE[place])
    dearest = max(range(len(rows)), key=lambda place: rows[place]["hours"])
    framed(figure.update_layout(barmode="group"),
           f"{names[dearest]} takes longest: {rows[dearest]['hours']:,.0f} hours",
           f"computed from stated rates, not measured; n = {len(rows)} set-ups", "hours", "")
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(height=220 + 34 * len(rows))
