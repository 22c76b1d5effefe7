"""Pictures of texts and data: repetition and length by system, and what the data are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lib.analysis.comparisons.scoreboard import chosen
from lib.analysis.figures.theme import PALETTE, error_bars, framed

Row = dict[str, Any]
SHOWN = (("seq_rep_4", "repeated 4-grams"), ("loop_rate", "answers that loop"),
         ("stopped_at_limit", "stopped at the limit"), ("distinct_2", "distinct 2-grams"))


def text_metrics_figure(metrics: Mapping[str, Row]) -> go.Figure:
    """Repetition, loops, truncation and variety of each system; metrics as `text_metrics` gives."""
    names = list(metrics)
    figure = make_subplots(rows=1, cols=len(SHOWN), shared_yaxes=True, horizontal_spacing=0.03,
                           subplot_titles=[title for _, title in SHOWN])
    for column, (key, _) in enumerate(SHOWN, start=1):
        figure.add_bar(x=[metrics[name][key] or 0.0 for name in names], y=names, orientation="h",
                       row=1, col=column, showlegend=False, marker_color=PALETTE[column - 1],
                       error_x=_share_bars(metrics, key))
    framed(figure, _most_repetitive(metrics), f"n = {_n(metrics)} answers a system; bars of shares "
           "are 95 % intervals; distinct 2-grams at one word budget", "", "")
    figure.update_xaxes(tickformat=".0%", nticks=4, rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(height=200 + 34 * len(names), margin={"t": 120, "b": 50})


def length_figure(systems: Mapping[str, Sequence[Row]], limit: int | None = None) -> go.Figure:
    """Distribution of answer lengths by system, one ridge each; `limit`: the most tokens drawn."""
    figure, means = go.Figure(), {}
    for place, (name, rows) in enumerate(systems.items()):
        tokens = [chosen(row)["tokens"] for row in rows]
        means[name] = sum(tokens) / len(tokens)
        figure.add_violin(x=tokens, y0=name, name=name, side="negative", orientation="h", width=1.6,
                          points=False, spanmode="hard", meanline_visible=True, showlegend=False,
                          line_color=PALETTE[place % 7])
    if limit is not None:
        figure.add_vline(x=limit, line={"dash": "dot"}, annotation={"text": "limit"})
    shortest, longest = min(means, key=means.get), max(means, key=means.get)
    finding = (f"{longest} answers longest ({means[longest]:.0f} tokens on average), {shortest} "
               f"shortest ({means[shortest]:.0f})")
    n = sorted({len(rows) for rows in systems.values()})
    framed(figure, finding, f"n = {n[-1]} answers a system; lines inside are means",
           "answer length (tokens)", "")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(height=200 + 50 * len(systems), margin_b=60)


def data_mix_figure(datasets: Mapping[str, Sequence[Row]]) -> go.Figure:
    """Rows by source in each data set; rows need a `source`."""
    counts = {name: Counter(row["source"] for row in rows) for name, rows in datasets.items()}
    sources = sorted({source for count in counts.values() for source in count})
    figure = go.Figure()
    for place, (name, count) in enumerate(counts.items()):
        figure.add_bar(x=sources, y=[count[source] for source in sources], name=name,
                       marker_color=PALETTE[place % 7])
    total = sum(sum(count.values()) for count in counts.values())
    sizes = ", ".join(f"{name} {sum(count.values()):,}" for name, count in counts.items())
    return framed(figure, f"{total:,} rows from {len(sources)} sources", f"n = {sizes}", "source",
                  "rows")


def _share_bars(metrics: Mapping[str, Row], key: str) -> dict[str, object] | None:
    """Intervals of a metric; None where some system has none."""
    rows = list(metrics.values())
    if any(row.get(f"{key}_low") is None for row in rows):
        return None
    return error_bars(*([row[f"{key}{end}"] for row in rows] for end in ("", "_low", "_high")))


def _most_repetitive(metrics: Mapping[str, Row]) -> str:
    rates = {name: row["seq_rep_4"] or 0.0 for name, row in metrics.items()}
    most, least = max(rates, key=rates.get), min(rates, key=rates.get)
    return (f"{most} repeats itself most ({rates[most]:.0%} of 4-grams), {least} least "
            f"({rates[least]:.0%})")


def _n(metrics: Mapping[str, Row]) -> str:
    counts = sorted({row["n"] for row in metrics.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
