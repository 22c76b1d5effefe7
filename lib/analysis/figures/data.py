"""Lengths of the rows of each data set in tokens, beside the limit that cuts them."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lib.analysis.figures.theme import GREY, looks, style_figure


def token_lengths_figure(lengths: Mapping[str, tuple[Sequence[int], int]]) -> go.Figure:
    """Histograms of row lengths; lengths: part -> (tokens of each of its rows, its limit)."""
    cut = {part: sum(value > limit for value in values)
           for part, (values, limit) in lengths.items()}
    figure = make_subplots(
        rows=len(lengths), cols=1, shared_xaxes=True, vertical_spacing=0.12,
        subplot_titles=[f"{part}: n = {len(values)}, limit {limit:,}, {cut[part]} longer"
                        for part, (values, limit) in lengths.items()])
    longest = max(max(values) for values, _ in lengths.values())
    for row, (part, (values, limit)) in enumerate(lengths.items(), start=1):
        figure.add_histogram(x=list(values), name=part, xbins={"start": 0, "size": 16}, row=row,
                             col=1, marker_color=looks(list(lengths))[part][0], showlegend=False)
        if limit <= longest:
            figure.add_vline(x=limit, line={"dash": "dot", "color": GREY}, row=row, col=1)
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    parts = "; ".join(f"{count} of {len(lengths[part][0])} {part} are longer than their limit "
                      "and cut" for part, count in cut.items() if count)
    style_figure(figure, parts or "No row is longer than its limit: none is cut",
                 "a dotted line is a limit; limits to the right of the axis are not drawn", "",
                 "rows", plot_height=130 * len(lengths), head=20)
    return figure.update_xaxes(title_text="tokens a row", row=len(lengths), col=1)
