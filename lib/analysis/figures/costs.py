"""The memory of a run, by what fills it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from lib.analysis.figures.theme import AMBER, GREEN, GREY, OTHERS, SKY, style_figure
from lib.runtime.files import Row


def memory_figure(rows: Sequence[Row]) -> go.Figure:
    """Stacked memory of each stage beside the GPU's; rows {"stage", "kind", "gb", "of"}."""
    figure = go.Figure()
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    colours = [SKY, AMBER, GREEN, *(colour for colour, _ in OTHERS)]
    for place, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        values = {row["stage"]: row["gb"] for row in rows if row["kind"] == kind}
        figure.add_bar(x=[values[stage] for stage in stages], y=stages, orientation="h", name=kind,
                       marker_color=colours[place % len(colours)])
    available = rows[0]["of"]
    figure.add_vline(x=available, line={"dash": "dot", "color": GREY}, annotation={
        "text": f"{available:g} GB", "font_color": GREY, "xanchor": "right"})
    most = max(sum(row["gb"] for row in rows if row["stage"] == stage) for stage in stages)
    return style_figure(figure.update_layout(barmode="stack"),
                        f"At most {most:.1f} of {available:g} GB are in use",
                        f"counted, not measured; n = {len(stages)} stages", "memory (GB)", "",
                        plot_height=60 + 50 * len(stages))
