"""Win rates as pictures: every comparison with its interval, judges beside each other.

In: rows of `win_rates` (this run's judges, the selector, the blind reader's), each with a, b,
judge, n, win_rate, ci_low, ci_high.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from lib.analysis.comparisons.paper import PROMPTS, paper_rate
from lib.analysis.figures.theme import (
    EVEN_LINE,
    Look,
    error_bars,
    looks,
    readable,
    style_figure,
)
from lib.inference.systems import BEST, System

Row = dict[str, Any]
APART = 0.006  # lines of several judges stand a little beside each other
PAPER = "the paper"


def win_rates_figure(rows: Sequence[Row], judge: str = "judge",
                     selector: str = "selector") -> go.Figure:
    """All comparisons, one line a pair, one mark a judge, the paper's rates as open diamonds.

    judge and selector name the two of which the title tells the difference.
    """
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in rows))
    papers = [{"a": a, "b": b, "judge": PAPER, "n": PROMPTS, "win_rate": rate.rate,
               "ci_low": rate.interval.low, "ci_high": rate.interval.high}
              for a, b in pairs if (rate := paper_rate(a, b))]
    judges = list(dict.fromkeys(row["judge"] for row in [*rows, *papers]))
    figure = go.Figure()
    for place, name in enumerate(judges):
        _judge_marks(figure, [row for row in [*rows, *papers] if row["judge"] == name], pairs,
                     name, looks(judges)[name], (place - (len(judges) - 1) / 2) * 0.2)
    figure.add_vline(x=0.5, line=EVEN_LINE)
    counts = sorted({row["n"] for row in rows})
    n = "n = " + (f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}")
    style_figure(figure, _judge_against_selector(rows, judge, selector),
                 f"{n} held-out prompts, ties half, 95 % intervals; the paper: n = {PROMPTS}, "
                 "another model, its selector is its judge", "share of prompts won", "",
                 plot_height=50 * len(pairs))
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(
        tickvals=list(range(len(pairs))), range=[len(pairs) - 0.5, -0.5], zeroline=False,
        ticktext=[f"{readable(a)}<br>over {readable(b)}" for a, b in pairs])


def temperature_figure(rows: Sequence[Row], n: int = 4, opponent: str = "sft") -> go.Figure:
    """Win rate of DPO's best of n over `opponent` by temperature: a line a judge, the paper's."""
    policy = System("dpo", BEST, n).family
    chosen = [row | {"temperature": System.parse(row["a"]).temperature} for row in rows
              if System.parse(row["a"]).family == policy and row["b"] == opponent]
    figure = go.Figure()
    judges = list(dict.fromkeys(row["judge"] for row in chosen))
    for place, judge in enumerate(judges):
        rows_of_judge = sorted((row for row in chosen if row["judge"] == judge),
                               key=lambda row: row["temperature"])
        _line(figure, rows_of_judge, "temperature", judge, looks(judges)[judge], APART * place)
    _paper_line(figure, {row["temperature"]: row["a"] for row in chosen}, opponent)
    figure.add_hline(y=0.5, line=EVEN_LINE)
    prompts = f"n = {chosen[0]['n']} prompts" if chosen else "no rows"
    style_figure(figure, _temperature_finding(chosen, policy, opponent),
                 f"{prompts}, ties half, 95 % intervals", "sampling temperature",
                 "share of prompts won")
    figure.update_xaxes(tickvals=sorted({row["temperature"] for row in chosen}))
    return figure.update_yaxes(tickformat=".0%")


def best_of_n_figure(curves: Mapping[str, Sequence[Row]], selector: str = "selector",
                     y: str = "share won against one draw") -> go.Figure:
    """Win rate by the number of candidates, a line a judge, with what selection alone gives.

    curves: judge -> rows {"n", "value", and optionally "ci_low", "ci_high"}; `selector` is the
    one that also picked. The dotted line n / (n + 1) needs no better answers at all; it is for
    an opponent drawn independently, not one of the n.
    """
    figure = go.Figure()
    for name, rows in curves.items():
        label = f"{name} (picked them itself)" if name == selector else name
        renamed = [{"win_rate": row["value"], **row} for row in rows]
        _line(figure, renamed, "n", label, looks(list(curves))[name])
    sizes = sorted({row["n"] for rows in curves.values() for row in rows})
    figure.add_scatter(x=sizes, y=[n / (n + 1) for n in sizes], mode="lines", line=EVEN_LINE,
                       name="n / (n + 1): selection alone")
    style_figure(figure, _best_of_n_finding(curves, selector),
                 "unbiased over all subsets of each prompt's candidates; ties half; a value that "
                 "counting alone gives has no interval",
                 "candidates n", y)
    figure.update_yaxes(tickformat=".0%")
    return figure.update_xaxes(type="log", tickvals=sizes)


def _judge_marks(figure: go.Figure, rows: Sequence[Row], pairs: Sequence[tuple[str, str]],
                 name: str, look: Look, offset: float) -> None:
    values = [row["win_rate"] for row in rows]
    bars = error_bars(values, [row["ci_low"] for row in rows], [row["ci_high"] for row in rows])
    figure.add_scatter(
        x=values, y=[pairs.index((row["a"], row["b"])) + offset for row in rows], name=name,
        mode="markers", error_x=bars, marker=_marker(look),
        customdata=[[row["n"], row["ci_low"], row["ci_high"]] for row in rows],
        hovertemplate="%{x:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}], n = %{customdata[0]}")


def _paper_line(figure: go.Figure, systems: Mapping[float, str], opponent: str) -> None:
    rates = [(t, rate) for t in sorted(systems) if (rate := paper_rate(systems[t], opponent))]
    if rates:
        rows = [{"temperature": t, "win_rate": rate.rate, "ci_low": rate.interval.low,
                 "ci_high": rate.interval.high} for t, rate in rates]
        _line(figure, rows, "temperature", PAPER, looks([])[PAPER], -APART)


def _line(figure: go.Figure, rows: Sequence[Row], x: str, name: str, look: Look,
          apart: float = 0.0) -> None:
    values = [row["win_rate"] for row in rows]
    bars = error_bars(values, [row.get("ci_low", row["win_rate"]) for row in rows],
                      [row.get("ci_high", row["win_rate"]) for row in rows])
    figure.add_scatter(x=[row[x] + apart for row in rows], y=values, name=name, error_y=bars,
                       mode="lines+markers", line_color=look[0], marker=_marker(look))


def _marker(look: Look) -> dict[str, object]:
    return {"color": look[0], "symbol": look[1], "size": 9}


def _judge_against_selector(rows: Sequence[Row], judge: str, selector: str) -> str:
    """The comparison in which judging by the selector flatters most."""
    rates = {(row["a"], row["b"], row["judge"]): row["win_rate"] for row in rows}
    both = [(rates[a, b, selector] - rates[a, b, judge], a, b) for a, b, name in rates
            if name == selector and (a, b, judge) in rates]
    if not both:
        return "Win rates with their intervals"
    _, a, b = max(both)
    return (f"{readable(a)} wins {rates[a, b, selector]:.0%} against {readable(b)} by its own "
            f"selector and {rates[a, b, judge]:.0%} by a judge that did not select")


def _temperature_finding(rows: Sequence[Row], policy: str, opponent: str) -> str:
    if not rows:
        return f"No comparison of {policy} with {opponent} at several temperatures"
    judges = {row["judge"]: None for row in rows}
    named = "judge" if "judge" in judges else next(iter(judges))
    first = [row for row in rows if row["judge"] == named]
    best = max(first, key=lambda row: row["win_rate"])
    rivals = [row for row in first if row["ci_high"] < best["ci_low"]]
    verdict = "its interval overlaps all others" if not rivals else \
        f"clear of {len(rivals)} of {len(first) - 1} others"
    return (f"{readable(best['a'])} does best of {len(first)} temperatures: "
            f"{best['win_rate']:.0%} over {readable(opponent)} by the {best['judge']}, {verdict}")


def _best_of_n_finding(curves: Mapping[str, Sequence[Row]], selector: str) -> str:
    ends = {name: max(rows, key=lambda row: row["n"]) for name, rows in curves.items() if rows}
    parts = [f"{end['value']:.0%} by the {name}{' itself' if name == selector else ''}"
             for name, end in ends.items()]
    largest = max((end["n"] for end in ends.values()), default=0)
    return (f"The best of {largest} wins {' and '.join(parts)}; selection alone gives "
            f"{largest / (largest + 1):.0%}") if parts else "Best-of-N: no curve"
