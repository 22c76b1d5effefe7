"""How every figure of the study looks, and how it reaches the page.

Okabe and Ito's palette (readable with any colour vision), a title that states the finding, a
subtitle with n, axes with units. Plain `go.Figure` only: live figure widgets break in exports.
"""

import os
from html import escape
from textwrap import wrap

import plotly.graph_objects as go
import plotly.io as pio

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, GREY, INK = "#56B4E9", "#E69F00", "#8A8A8A", "#222222"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, INK)
SYMBOLS = ("circle", "square", "triangle-up", "cross", "pentagon", "star", "hexagon")
TITLE_WIDTH = 96
RENDERER = "plotly_mimetype+notebook"

TEMPLATE = go.layout.Template(layout=go.Layout(
    font={"family": "Segoe UI, Helvetica Neue, Arial, sans-serif", "size": 14, "color": INK},
    title={"x": 0.01, "xanchor": "left", "yref": "container", "y": 1, "yanchor": "top",
           "pad": {"t": 18}, "font": {"size": 18},
           "subtitle": {"font": {"size": 13, "color": "#555555"}}},
    colorway=list(PALETTE), paper_bgcolor="white", plot_bgcolor="white",
    margin={"l": 70, "r": 30, "t": 80, "b": 100}, height=440,
    xaxis={"gridcolor": "#E6E6E6", "zerolinecolor": "#BBBBBB", "linecolor": "#888888",
           "ticks": "outside", "automargin": True},
    yaxis={"gridcolor": "#E6E6E6", "zerolinecolor": "#BBBBBB", "linecolor": "#888888",
           "ticks": "outside", "automargin": True},
    legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
    hoverlabel={"namelength": -1}))


def use_study_renderer() -> None:
    """Make figures show in JupyterLab and in exported HTML alike, without a network.

    Takes PLOTLY_RENDERER from the environment where it is set. JupyterLab reads the MIME bundle;
    nbconvert needs the HTML with plotly.js inside, or it drops the figure.
    """
    pio.renderers.default = os.environ.setdefault("PLOTLY_RENDERER", RENDERER)


def framed(figure: go.Figure, finding: str, subtitle: str, x: str, y: str) -> go.Figure:
    """Give a figure the study's look: title (the finding), subtitle (with n), axes with units."""
    title = "<br>".join(wrap(escape(finding, quote=False), TITLE_WIDTH))
    extra_lines = title.count("<br>")
    figure.update_layout(template=TEMPLATE, margin_t=80 + 24 * extra_lines,
                         title={"text": title, "pad_t": 18 + 14 * extra_lines,
                                "subtitle": {"text": escape(subtitle, quote=False)}})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each name, in order, starting over after seven."""
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def error_bars(values: list[float], low: list[float], high: list[float]) -> dict[str, object]:
    """Plotly's asymmetric error bars from interval ends."""
    return {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
            "array": [top - value for value, top in zip(values, high, strict=True)],
            "arrayminus": [value - bottom for value, bottom in zip(values, low, strict=True)]}


def direction(before: float, after: float, rises: str = "rises", falls: str = "falls",
              stays: str = "stays") -> str:
    """The verb for a change: by less than a thousandth of the start it stays."""
    if abs(after - before) <= 1e-3 * max(abs(before), 1e-9):
        return stays
    return rises if after > before else falls
