"""How long the rows of each data set are, in tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lib.analysis.figures.theme import PALETTE, framed


def token_lengths_figure(lengths: Mapping[str, Sequence[int]], limit: int) -> go.Figure:
    """Histogram of row lengths by part; `limit` is the longest that training keeps whole."""
    figure = go.Figure()
    for place, (part, values) in enumerate(lengths.items()):
        figure.add_histogram(x=list(values), name=f"{part} (n = {len(values)})", opacity=0.65,
                             xbins={"size": 16}, marker_color=PALETTE[place % len(PALETTE)])
    figure.add_vline(x=limit, line={"dash": "dot"}, annotation={"text": f"limit {limit}"})
    everything = np.concatenate([np.asarray(values) for values in lengths.values()])
    over = int((everything > limit).sum())
    figure.update_layout(barmode="overlay")
    finding = f"Half of the {len(everything)} rows have {np.median(everything):.0f} tokens or fewer"
    subtitle = f"{over} of {len(everything)} rows exceed the limit of {limit} tokens"
    return framed(figure, finding, subtitle, "tokens a row", "rows")
