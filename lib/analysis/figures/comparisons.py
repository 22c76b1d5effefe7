"""Figures of win rates: every comparison with its interval, one mark a judge.

In: rows of `win_rates` by any number of judges (the selector, readers), each with a, b, judge, n,
win_rate, ci_low, ci_high (None where counting alone gives the rate).
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lib.analysis.comparisons.paper import PAPER, PROMPTS, paper_row
from lib.analysis.figures.theme import (
    EVEN_LINE,
    add_marks,
    between,
    columns,
    looks,
    readable,
    style_figure,
)
from lib.inference.judges.settings import LLM
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

APART = 0.006  # on the axis of temperatures, so that the judges' marks do not overlap
RATE = ("win_rate", "ci_low", "ci_high")
SINGLE = ("blind reader", LLM)  # judges of one answer a system, where the others see all pairs


def win_rates_figure(rows: Sequence[Row]) -> go.Figure:
    """All comparisons, one line a pair, one mark a judge, the paper's rates as open diamonds.

    The title tells the comparison over which the judges part most.
    """
    rows = [row for row in rows if row["n"]]
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in rows))
    shown = [*rows, *filter(None, (paper_row(*pair) for pair in pairs))]
    judges = list(dict.fromkeys(row["judge"] for row in shown))
    figure = go.Figure()
    for place, name in enumerate(judges):
        chosen = [row for row in shown if row["judge"] == name]
        values, *ends = columns(chosen, *RATE)
        offset = (place - (len(judges) - 1) / 2) * 0.2
        add_marks(figure, name, looks(judges)[name], values,
                  [pairs.index((row["a"], row["b"])) + offset for row in chosen], ends, "x",
                  customdata=[[row["n"], row["ci_low"], row["ci_high"]] for row in chosen],
                  hovertemplate="%{x:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}], "
                                "n = %{customdata[0]}")
    figure.add_vline(x=0.5, line=EVEN_LINE)
    style_figure(figure, _where_judges_part(rows),
                 f"n = {between(row['n'] for row in rows)} held-out prompts, {_answers(judges)}, "
                 f"ties half, 95 % intervals; the paper: n = {PROMPTS}, another model, and its "
                 "selector is its judge",
                 "share of prompts won", "", plot_height=50 * len(pairs))
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(
        tickvals=list(range(len(pairs))), range=[len(pairs) - 0.5, -0.5], zeroline=False,
        ticktext=[f"{readable(a)}<br>over {readable(b)}" for a, b in pairs])


def temperature_figure(rows: Sequence[Row], n: int = 4, opponent: str = "sft") -> go.Figure:
    """Win rate of DPO's best of n over `opponent` by temperature: a line a judge, the paper's."""
    policy = System("dpo", BEST, n).family
    chosen = [row | {"temperature": System.parse(row["a"]).temperature} for row in rows
              if System.parse(row["a"]).family == policy and row["b"] == opponent and row["n"]]
    figure = go.Figure()
    judges = list(dict.fromkeys(row["judge"] for row in chosen))
    for place, judge in enumerate(judges):
        mine = [row for row in chosen if row["judge"] == judge]
        _temperature_line(figure, mine, judge, judges, APART * place)
    published = {row["temperature"]: paper_row(row["a"], opponent) for row in chosen}
    _temperature_line(figure, [row for row in published.values() if row], PAPER, judges, -APART)
    figure.add_hline(y=0.5, line=EVEN_LINE)
    prompts = f"n = {between(row['n'] for row in chosen)} prompts" if chosen else "no rows"
    style_figure(figure, _temperature_finding(chosen, policy, opponent),
                 f"{prompts}, all pairs of answers, ties half, 95 % intervals",
                 "sampling temperature",
                 "share of prompts won")
    figure.update_xaxes(tickvals=sorted({row["temperature"] for row in chosen}))
    return figure.update_yaxes(tickformat=".0%")


def best_of_n_figure(curves: Mapping[str, Sequence[Row]], selector: str = "selector",
                     y: str = "share won against one draw") -> go.Figure:
    """Win rate by the number of candidates, a line a judge, and what a picker of noise claims.

    curves: judge -> rows {"n", "value", "ci_low", "ci_high"}; `selector` is the judge that also
    selected. The dotted line n / (n + 1) is what a selector's own scores give to equal answers; it
    holds for an opponent that is another draw, not for one of the n.
    """
    figure = go.Figure()
    for name, rows in curves.items():
        sizes, values, *ends = columns(rows, "n", "value", "ci_low", "ci_high")
        add_marks(figure, f"{name} (picked the answers)" if name == selector else name,
                  looks(list(curves))[name], sizes, values, ends, mode="lines+markers")
    sizes = sorted({row["n"] for rows in curves.values() for row in rows})
    figure.add_scatter(x=sizes, y=[n / (n + 1) for n in sizes], mode="lines", line=EVEN_LINE,
                       name="n / (n + 1): a picker of noise, by its own scores")
    style_figure(figure, _best_of_n_finding(curves, selector),
                 "unbiased over all subsets of each prompt's candidates; ties half; a value that "
                 "counting alone gives has no interval", "candidates n", y)
    figure.update_yaxes(tickformat=".0%")
    return figure.update_xaxes(type="log", tickvals=sizes)


def _answers(judges: Sequence[str]) -> str:
    single = " and ".join(name for name in judges if name in SINGLE)
    return "all pairs of answers" + (f" (by the {single}: single answers)" if single else "")


def _temperature_line(figure: go.Figure, rows: Sequence[Row], name: str, judges: Sequence[str],
                      offset: float) -> None:
    if rows:
        heats, values, *ends = columns(sorted(rows, key=lambda row: row["temperature"]),
                                       "temperature", *RATE)
        add_marks(figure, name, looks(judges)[name], [heat + offset for heat in heats], values,
                  ends, mode="lines+markers")


def _where_judges_part(rows: Sequence[Row]) -> str:
    """The comparison over which the judges part most, with the rate of each."""
    rates: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        rates.setdefault((row["a"], row["b"]), {})[row["judge"]] = row["win_rate"]
    apart = {pair: max(found.values()) - min(found.values()) for pair, found in rates.items()
             if len(found) == len({row["judge"] for row in rows}) > 1}
    if not apart:
        return "Win rates with their intervals"
    a, b = max(apart, key=apart.__getitem__)
    told = ", ".join(f"{rate:.0%} by the {judge}" for judge, rate in rates[a, b].items())
    return f"Who judges decides how often {readable(a)} wins against {readable(b)}: {told}"


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
    return (f"The best of {largest} wins {' and '.join(parts)}; a picker of noise wins "
            f"{largest / (largest + 1):.0%} by its own scores") if parts else "Best-of-N: no curve"
