"""The look of every figure: one colour a role, wrapped titles, dark pages.

A figure is a white card with dark text, so that it is readable in a saved notebook, in a file and
in a README on a dark page. On the dark pages of JupyterLab and VS Code `STYLE` removes the card and
lightens the text; the data's colours have a contrast over 3 on white and on black.
"""

from collections.abc import Iterable, Sequence
from html import escape
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import HTML, display

from lib.inference.systems import BEST, KL, MBR, RANDOM, SOFT, System
from lib.runtime.files import Row

# Okabe and Ito's palette, readable with any colour vision; the two light ones are darkened
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, PURPLE, GREY, INK = "#2F97D0", "#B8860B", "#8069C9", "#808080", "#222222"
Look = tuple[str, str]  # colour and symbol
LOOKS: dict[str, Look] = {
    "selector": (BLUE, "circle"), "judge": (ORANGE, "square"), "blind reader": (GREEN, "star"),
    "the paper": (GREY, "diamond-open"),
    "chosen": (SKY, "circle"), "rejected": (AMBER, "square"), "margin": (PINK, "triangle-up"),
    "loss": (PURPLE, "circle"), "accuracy": (PURPLE, "circle")}
OTHERS: tuple[Look, ...] = ((PURPLE, "pentagon"), (AMBER, "cross"), (SKY, "triangle-down"),
                            (PINK, "hexagon"), (GREY, "x"))
PICKS = {BEST: "best", RANDOM: "random pick", SOFT: "soft best", MBR: "MBR best", KL: "KL best"}
EVEN_LINE = {"dash": "dot", "color": GREY, "width": 1.5}

TITLE_WIDTH, SUBTITLE_WIDTH, AXIS_WIDTH = 66, 88, 30  # characters that fit into 600 pixels, or 240
LINE, SUBLINE = 22, 17  # pixels of a line of the title and of the subtitle
SHIFT = 12  # by which plotly.js lifts a title of several lines
LEGEND_ROW, LEGEND_WIDTH, BOTTOM = 22, 78, 62
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}  # of plotly.js
GRID = "rgba(128,128,128,0.25)"
AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GREY, "ticks": "outside",
        "tickcolor": GREY, "automargin": True, "title": {"standoff": 12, "font": {"size": 13}}}
TEMPLATE = go.layout.Template(layout=go.Layout(
    font={"family": "Helvetica Neue, Arial, Liberation Sans, sans-serif", "size": 13,
          "color": INK},
    title={"x": 0, "xanchor": "left", "yref": "container", "y": 1, "yanchor": "top",
           "pad": {"l": 12}, "font": {"size": 17}, "subtitle": {"font": {"size": 12.5}}},
    paper_bgcolor="white", plot_bgcolor="rgba(0,0,0,0)", margin={"l": 72, "r": 44},
    xaxis=AXIS, yaxis=AXIS,
    legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0,
            "bgcolor": "rgba(0,0,0,0)", "traceorder": "normal"},
    modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": GREY,
             "remove": ["zoom", "pan", "select", "lasso", "zoomin", "zoomout", "autoscale"]},
    hoverlabel={"namelength": -1}))

STYLE = """<style>
.jp-RenderedPlotly .plot-img { max-width: 100%; height: auto; }
:is([data-jp-theme-light="false"], .vscode-dark) .js-plotly-plot .main-svg {
  background: transparent !important; }
:is([data-jp-theme-light="false"], .vscode-dark) .js-plotly-plot
  :is(.g-gtitle, [class^="g-x"], [class^="g-y"], [class$="tick"], .legend, .annotation) text {
  fill: #e2e2e2 !important; }
</style>"""


def use_study_renderer() -> None:
    """Adapt figures to the page's theme and width; plotly chooses the renderer by environment.

    In Jupyter that is the MIME type alone: a saved notebook holds figures without plotly.js. Such a
    notebook becomes a page by `lib.study.notebooks.export_html`. JupyterLab fits a figure to its
    cell; plotly's own `responsive` folds the figure to nothing when the window gets taller.
    """
    pio.renderers["plotly_mimetype"].config = CONFIG | {"responsive": False}
    display(HTML(STYLE))


def style_figure(figure: go.Figure, finding: str, subtitle: str, x: str, y: str,
                 plot_height: int = 300, head: int = 0) -> go.Figure:
    """Set title (the finding), subtitle (with n), axes (with units) and the study's template.

    Call it after the traces, because it counts the legend's rows. plot_height: pixels from the
    title to the axis; head: further pixels for titles of panels. The height is fixed, because
    JupyterLab gives 360 pixels to a figure without one.
    """
    title, small, side = (_wrapped(text, width) for text, width in (
        (finding, TITLE_WIDTH), (subtitle, SUBTITLE_WIDTH), (y, AXIS_WIDTH)))
    top = head + 34 + LINE * (title.count("<br>") + 1) + SUBLINE * (small.count("<br>") + 1)
    bottom = BOTTOM + LEGEND_ROW * _legend_rows(figure)
    figure.update_layout(
        template=TEMPLATE, margin={"t": top, "b": bottom}, height=top + plot_height + bottom,
        title={"text": title, "pad_t": 12 + SHIFT * ("<br>" in title),
               "subtitle": {"text": small}})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=side)
    return figure


def readable(name: str) -> str:
    """A system's name in words: `dpo+bon4@0.6` is "DPO best of 4 (T 0.6)"."""
    system = System.parse(name)
    policy = system.policy.upper() if system.policy in ("sft", "dpo") else escape(system.policy)
    if system.rule is None:
        return policy
    setting = f"{system.setting}, " if system.setting else ""
    return (f"{policy} {PICKS[system.rule]} of {system.n} "
            f"({setting}T\u00a0{system.temperature:g})")


def in_two_lines(name: str) -> str:
    """`readable` with a line break before the number of candidates, for narrow places."""
    return readable(name).replace(" of ", "<br>of ")


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Colour and symbol of each name: fixed for a role, in turn from `OTHERS` for the rest."""
    others = [name for name in dict.fromkeys(names) if name not in LOOKS]
    return LOOKS | {name: OTHERS[place % len(OTHERS)] for place, name in enumerate(others)}


def add_marks(figure: go.Figure, name: str, look: Look, x: Sequence[Any], y: Sequence[Any],
              ends: Sequence[Sequence[float | None]] | None = None, along: str = "y",
              **options: object) -> None:
    """Add a trace of marks in one look: with `mode`, lines too; with `ends`, intervals.

    ends: the low and the high ends of the intervals, along the axis `along`.
    """
    colour, symbol = look
    if ends:
        options[f"error_{along}"] = error_bars(x if along == "x" else y, *ends)
    figure.add_scatter(**{"x": x, "y": y, "name": name, "mode": "markers", "line_color": colour,
                          "marker": {"color": colour, "symbol": symbol, "size": 9}} | options)


def columns(rows: Sequence[Row], *keys: str) -> list[list[float]]:
    """The values of each key over all rows."""
    return [[row[key] for row in rows] for key in keys]


def between(counts: Iterable[int]) -> str:
    """`200`, or `180 to 200`."""
    counts = sorted(set(counts))
    return f"{counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")


def error_bars(values: Sequence[float], low: Sequence[float | None],
               high: Sequence[float | None]) -> dict[str, object]:
    """Plotly's asymmetric error bars from interval ends; none where an end is None."""
    return {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
            "array": [_apart(top, value) for value, top in zip(values, high, strict=True)],
            "arrayminus": [_apart(value, end) for value, end in zip(values, low, strict=True)]}


def _apart(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above - below


def direction(before: float, after: float) -> str:
    """The verb for a change; a change of less than a thousandth of the start `stays`."""
    if abs(after - before) <= 1e-3 * max(abs(before), 1e-9):
        return "stays"
    return "rises" if after > before else "falls"


def _wrapped(text: str, width: int) -> str:
    lines = wrap(text, width, break_on_hyphens=False)
    return "<br>".join(escape(line, quote=False) for line in lines)


def _legend_rows(figure: go.Figure) -> int:
    """Rows that the legend fills in a narrow window; a single trace has no legend."""
    named = [len(trace.name) + 6 for trace in figure.data
             if trace.name and trace.showlegend is not False]
    return -(-sum(named) // LEGEND_WIDTH) if len(figure.data) > 1 else 0
