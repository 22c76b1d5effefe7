"""Figures of texts and data: repetition and length by system, and the sources of the data."""

from collections import Counter
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lib.analysis.figures.theme import (
    GREY,
    PURPLE,
    between,
    columns,
    error_bars,
    in_two_lines,
    looks,
    readable,
    style_figure,
)
from lib.runtime.files import Row
from lib.runtime.progress import counted

SHOWN = (("seq_rep_4", "repeated<br>4-grams"), ("loop_rate", "answers<br>that loop"),
         ("stopped_at_limit", "stopped<br>at the limit"), ("distinct_2", "distinct<br>2-grams"))


def text_metrics_figure(metrics: Mapping[str, Row]) -> go.Figure:
    """Repetition, loops, truncation and variety of each system; metrics as `text_metrics` gives."""
    names = [in_two_lines(name) for name in metrics]
    figure = make_subplots(rows=1, cols=len(SHOWN), shared_yaxes=True, horizontal_spacing=0.04,
                           subplot_titles=[title for _, title in SHOWN])
    for column, (key, _) in enumerate(SHOWN, start=1):
        figure.add_bar(x=[row[key] for row in metrics.values()], y=names, orientation="h",
                       row=1, col=column, showlegend=False, marker_color=PURPLE,
                       error_x=_share_bars(metrics, key))
    style_figure(figure, _most_repetitive(metrics),
                 f"n = {between(row['n'] for row in metrics.values())} answers a system; bars of "
                 "shares are 95 % intervals; distinct 2-grams at one word budget", "", "",
                 plot_height=36 * len(names), head=40)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(tickformat=".0%", nticks=2, rangemode="tozero", tickangle=0)
    return figure.update_yaxes(autorange="reversed")


def data_mix_figure(datasets: Mapping[str, Sequence[Row]]) -> go.Figure:
    """Rows by source in each data set; rows need a `source`."""
    counts = {name: Counter(row["source"] for row in rows) for name, rows in datasets.items()}
    sources = sorted({source for count in counts.values() for source in count})
    figure, shown = go.Figure(), looks(list(counts))
    for name, count in counts.items():
        figure.add_bar(x=[count[source] for source in sources], y=sources, name=name,
                       orientation="h", marker_color=shown[name][0])
    total = sum(sum(count.values()) for count in counts.values())
    sizes = ", ".join(f"{name} {sum(count.values()):,}" for name, count in counts.items())
    style_figure(figure, f"{counted(total, 'row')} from {counted(len(sources), 'source')}",
                 f"n = {sizes}", "rows", "",
                 plot_height=20 + 14 * len(sources) * (1 + len(counts)))
    return figure.update_yaxes(autorange="reversed")


def _share_bars(metrics: Mapping[str, Row], key: str) -> dict[str, object] | None:
    """Intervals of a metric; None where some system has none."""
    rows = list(metrics.values())
    if any(row.get(f"{key}_low") is None for row in rows):
        return None
    return {"color": GREY} | error_bars(*columns(rows, key, f"{key}_low", f"{key}_high"))


def _most_repetitive(metrics: Mapping[str, Row]) -> str:
    rates = {name: row["seq_rep_4"] for name, row in metrics.items()
             if row["seq_rep_4"] is not None}
    if not rates:
        return "No answer has the four words that a repetition takes"
    most, least = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
    return f"{readable(most)} repeats itself most ({rates[most]:.1%} of 4-grams)" + (
        "" if most == least else f", {readable(least)} least ({rates[least]:.1%})")
