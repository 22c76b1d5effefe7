"""Figures of selection: what it buys by whose scores, and win rates by temperature and n.

In: rows of `lib.analysis.best_of_n` with value, ci_low, ci_high and prompts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lib.analysis.figures.theme import (
    EVEN_LINE,
    add_marks,
    between,
    columns,
    looks,
    readable,
    style_figure,
)
from lib.runtime.files import Row

SHADES = [[0.0, "#FFFFFF"], [1.0, "#5FB58F"]]  # green wins, as in the round robin


def worlds_figure(rates: Mapping[str, Mapping[str, float]], judge: str = "judge",
                  reader: str = "blind reader") -> go.Figure:
    """Win rates of the best of n in made-up worlds, a mark a judge: who can tell them apart?

    rates: world -> judge -> share won over another draw. The title compares the first two worlds.
    """
    figure, shown = go.Figure(), looks(list(next(iter(rates.values()))))
    for name in next(iter(rates.values())):
        add_marks(figure, name, shown[name], [world[name] for world in rates.values()],
                  list(rates))
    figure.add_vline(x=0.5, line=EVEN_LINE)
    first, second = list(rates.values())[:2]
    style_figure(figure, f"The {judge} says {first[judge]:.0%} in one world and "
                 f"{second[judge]:.0%} in the other; the {reader} {first[reader]:.0%} and "
                 f"{second[reader]:.0%}",
                 "simulated scores, best of 4 over another draw", "share won", "",
                 plot_height=50 + 50 * len(rates))
    return figure.update_xaxes(tickformat=".0%").update_yaxes(autorange="reversed")


def best_over_random_figure(rows: Sequence[Row], forecasts: Sequence[Row] = ()) -> go.Figure:
    """What Best-of-N wins over a random one of the same answers, by judge, beside the reader.

    rows: of `best_over_random_rows`, a line a system; forecasts: of `reader_forecast`, a line each.
    """
    lines = [{**row, "line": readable(row["system"])} for row in rows] + [
        {**row, "judge": row["reader"],
         "line": f"forecast for best of {row['n_candidates']}<br>from {row['answers']}"}
        for row in forecasts]
    judges = list(dict.fromkeys(row["judge"] for row in lines))
    figure, shown = go.Figure(), looks(judges)
    for judge in judges:
        mine = [row for row in lines if row["judge"] == judge]
        names, values, *ends = columns(mine, "line", "value", "ci_low", "ci_high")
        add_marks(figure, judge, shown[judge], values, names, ends, "x")
    figure.add_vline(x=0.5, line=EVEN_LINE)
    counts = "n = " + between(row["prompts"] for row in lines) if lines else "no"
    style_figure(figure, _bought(rows, forecasts), f"{counts} prompts, ties half, 95 % intervals; "
                 "the selector's own rate is arithmetic, without an interval", "share won", "",
                 plot_height=40 + 40 * len({row["line"] for row in lines}))
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(autorange="reversed")


def gains_figure(gains: Mapping[str, Sequence[Row]], selector: str = "selector",
                 judge: str = "judge") -> go.Figure:
    """Gain of the best of n over one draw against the bound on its KL, a line a reward model.

    gains: reward model -> rows {"n", "kl_bound", "value", "ci_low", "ci_high", "prompts"}, in
    standard deviations of that model's scores within a prompt.
    """
    figure, shown = go.Figure(), looks(list(gains))
    for name, rows in gains.items():
        bounds, values, *ends = columns(rows, "kl_bound", "value", "ci_low", "ci_high")
        add_marks(figure, f"{name} (picked the answers)" if name == selector else name,
                  shown[name], bounds, values, ends, mode="lines+markers",
                  customdata=[row["n"] for row in rows],
                  hovertemplate="best of %{customdata}: %{y:.2f}")
    figure.add_hline(y=0, line=EVEN_LINE)
    rows = next((rows for rows in gains.values() if rows), [])
    prompts = rows[0]["prompts"] if rows else 0
    style_figure(figure, _gains(gains.get(selector, ()), gains.get(judge, ()), judge),
                 f"n = {prompts} prompts, 95 % intervals; the KL from the sampled answers is at "
                 "most log\u00a0n\u00a0-\u00a0(n-1)/n, and less where candidates repeat",
                 "candidates n, spaced by the bound on KL in nats", "gain (standard deviations)")
    return figure.update_xaxes(tickvals=[row["kl_bound"] for row in rows],
                               ticktext=[str(row["n"]) for row in rows])


def over_optimisation_figure(rows: Sequence[Row], policy: str = "dpo") -> go.Figure:
    """Gain of the best of n by distance sqrt(KL), and Gao's fit d (alpha - beta d), by judge.

    rows: of `over_optimisation_rows`. A dotted line marks the judge's peak inside the range.
    """
    rows = [row for row in rows if row["policy"] == policy]
    figure, shown = go.Figure(), looks([row["judge"] for row in rows])
    for row in rows:
        distances, values, *ends = columns(row["points"], "distance", "value", "ci_low", "ci_high")
        add_marks(figure, row["judge"], shown[row["judge"]], distances, values, ends,
                  customdata=[[point["n"], point["kl"], point["kl_bound"]]
                              for point in row["points"]],
                  hovertemplate="best of %{customdata[0]}: %{y:.2f}<br>KL %{customdata[1]:.2f}, "
                                "at most %{customdata[2]:.2f}")
        steps = np.linspace(0, distances[-1], 50)
        figure.add_scatter(x=steps, y=steps * (row["alpha"] - row["beta"] * steps), mode="lines",
                           line_color=shown[row["judge"]][0], showlegend=False, hoverinfo="skip")
    judged = next((row for row in rows if row["judge"] == "judge"), None)
    if judged and judged["peak_distance"] is not None:
        figure.add_vline(x=judged["peak_distance"], line=EVEN_LINE)
    counts = between(row["prompts"] for row in rows) if rows else "0"
    return style_figure(
        figure, _bend(judged), f"n = {counts} prompts, 95 % intervals by bootstrap over prompts; "
        "KL of the best of n from the answers sampled, lines are fits d (alpha - beta d)",
        "d, the root of the KL in nats", "gain (standard deviations)")


def surface_figure(rows: Sequence[Row], policy: str = "dpo", judge: str = "judge") -> go.Figure:
    """Win rate of a policy over one SFT answer by temperature and n, every cell with its number."""
    cells = {(row["temperature"], row["n"]): row for row in rows
             if row["policy"] == policy and row["judge"] == judge}
    heats, sizes = (sorted({key[place] for key in cells}) for place in (0, 1))
    table = [[cells.get((heat, n)) for n in sizes] for heat in heats]
    figure = go.Figure(go.Heatmap(
        x=[str(n) for n in sizes], y=[f"T = {heat:g}" for heat in heats],
        z=[[cell and cell["value"] for cell in line] for line in table],
        text=[[_cell_text(cell) for cell in line] for line in table], texttemplate="%{text}",
        colorscale=SHADES, showscale=False, xgap=3, ygap=3, hoverinfo="x+y+text"))
    counts = between(cell["prompts"] for cell in cells.values()) if cells else "0"
    style_figure(figure, _best_cell(cells, policy, judge),
                 f"share won against one SFT answer by the {judge}; n = {counts} prompts, 95 % "
                 "intervals", "candidates n", "", plot_height=20 + 60 * max(1, len(heats)))
    return figure.update_xaxes(type="category").update_yaxes(type="category")


def _bought(rows: Sequence[Row], forecasts: Sequence[Row]) -> str:
    if not rows:
        return "No pool was scored by a judge"
    judged = [row for row in rows if row["ci_low"] is not None]
    text = "Best-of-N wins " + " and ".join(
        f"{_range([row['value'] for row in part])} by {name}" for name, part in (
            ("its own selector", [row for row in rows if row["ci_low"] is None]),
            ("other judges", judged)) if part)
    return text + "".join(f"; {row['value']:.0%} is forecast by the {row['reader']}"
                          for row in forecasts[-1:])


def _range(shares: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{end:.0%}" for end in (min(shares), max(shares))))


def _cell_text(cell: Row | None) -> str:
    if cell is None:
        return ""
    ends = "" if cell["ci_low"] is None else f"<br>{cell['ci_low']:.0%} to {cell['ci_high']:.0%}"
    return f"{cell['value']:.0%}{ends}"


def _gains(picked: Sequence[Row], judged: Sequence[Row], judge: str) -> str:
    if not picked or not judged:
        return "No pool has different scores from both reward models"
    own, other = (max(rows, key=lambda row: row["n"]) for rows in (picked, judged))
    peak = max(judged, key=lambda row: row["value"])
    text = (f"The best of {own['n']} gains {own['value']:.2f} by its own selector and "
            f"{other['value']:.2f} by the {judge}")
    if other["ci_low"] is None or other["ci_low"] <= 0:
        return f"{text}, which is not significant"
    if peak["n"] < other["n"]:
        return f"{text}, whose curve is highest at n = {peak['n']}"
    return f"{text}; their ratio is how far the two agree, and no proof of quality"


def _bend(row: Row | None) -> str:
    if row is None:
        return "No long pool was scored by the judge"
    most, bend = row["points"][-1]["n"], row["beta_low"] > 0
    if row["peak_distance"] is not None and bend:
        return (f"By the judge more candidates stop paying: the fit peaks at d = "
                f"{row['peak_distance']:.2f}, before the best of {most}")
    if bend:
        return (f"By the judge each further candidate gains less, but up to the best of {most} "
                "the fit has no peak")
    return f"Up to the best of {most} no bend of the judge's gain is shown"


def _best_cell(cells: Mapping[tuple[float, int], Row], policy: str, judge: str) -> str:
    if not cells:
        return f"No pool of {readable(policy)} was scored by the {judge}"
    (heat, n), best = max(cells.items(), key=lambda item: item[1]["value"])
    most = {each: max(size for warm, size in cells if warm == each)
            for each in {warm for warm, _ in cells}}
    gains = {each: cells[each, size]["value"] - cells[each, 1]["value"]
             for each, size in most.items() if (each, 1) in cells}
    warmest = max(gains, key=gains.__getitem__)
    return (f"By the {judge}, {readable(policy)} wins most ({best['value']:.0%}) with the best of "
            f"{n} at T = {heat:g}; more candidates change most at T = {warmest:g} "
            f"({100 * gains[warmest]:+.0f} points from one to {most[warmest]})")
