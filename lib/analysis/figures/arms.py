"""Notebook 06's figures: who beats SFT, gain against movement, and win rate against cost.

They hold six arms as well as forty: a look for each group of arms, and beside the marks as many
names as fit without touching, the outermost first. The pointer names the others.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lib.analysis.figures.theme import (
    AMBER,
    BLUE,
    EVEN_LINE,
    GREEN,
    GREY,
    LOOKS,
    PINK,
    PURPLE,
    Look,
    add_marks,
    between,
    columns,
    error_bars,
    readable,
    style_figure,
)
from lib.analysis.policies.arms import verdict, who_beats, work_of
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

GROUP_LOOKS: tuple[Look, ...] = ((PURPLE, "circle"), (AMBER, "square"), (GREEN, "diamond"),
                                 (PINK, "triangle-up"), (GREY, "x"), (BLUE, "cross"))
DASHES = ("dash", "dashdot", "longdash", "dot")
LINE_OF_ARM = 26  # pixels
WIDE_RANGE = 8.0  # of the largest value over the least, from which an axis is logarithmic
WIDE, HIGH = 470, 360  # pixels of the plot in a narrow window, in which no two names may touch
LETTER, TALL, AWAY = 6.2, 14, 7  # pixels of a name in size 11, and from the mark to it
SIDES = {"top center": (-0.5, -1.0), "bottom center": (-0.5, 1.0), "middle right": (0.0, 0.0),
         "middle left": (-1.0, 0.0)}  # its left end in lengths of the name, and its line
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


def arm_rates_figure(verdicts: Sequence[Row], reader: Row, first: Sequence[Row]) -> go.Figure:
    """Win rate of every arm over SFT, best by the judge first: judge, selector and blind reader.

    verdicts: win rates; reader: of `lib.study.beyond.reader.reader_of_arms`; first: of
    `policies.arms.what_to_try`. An open star is a forecast.
    """
    judged = sorted((row for row in verdicts if row["judge"] == "judge" and row["n"]),
                    key=lambda row: -row["win_rate"])
    place = {row["a"]: number for number, row in enumerate(judged)}
    marks = {name: ([row for row in verdicts if row["judge"] == name and row["a"] in place],
                    ("a", "win_rate", "ci_low", "ci_high")) for name in ("judge", "selector")}
    rows = [row for row in reader["rows"] if row["arm"] in place]
    marks["blind reader"] = ([row for row in rows if row["read"] is not None],
                             ("arm", "read", "read_low", "read_high"))
    marks["blind reader, forecast"] = ([row for row in rows if row["read"] is None and
                                        row["forecast"] is not None],
                                       ("arm", "forecast", "low", "high"))
    figure = go.Figure()
    for number, (name, (shown, keys)) in enumerate(marks.items()):
        if shown:
            names, values, *ends = columns(shown, *keys)
            add_marks(figure, name, LOOKS.get(name, (GREEN, "star-open")), values,
                      [place[arm] + 0.24 * (min(number, 2) - 1) for arm in names], ends, "x",
                      customdata=names, hovertemplate="%{customdata}: %{x:.3f}")
    figure.add_vline(x=0.5, line=EVEN_LINE)
    style_figure(figure, _rates_finding(first),
                 f"n = {between(row['n'] for row in judged) if judged else 0} held-out prompts, "
                 "all pairs of answers, ties half, 95 % intervals; arms learned from the selector",
                 "share of prompts won over SFT", "",
                 plot_height=max(150, LINE_OF_ARM * len(place)))
    figure.update_xaxes(tickformat=".0%")
    return figure.update_yaxes(tickvals=list(place.values()), ticktext=list(place),
                               range=[len(place) - 0.5, -0.5], zeroline=False)


def reward_kl_figure(rows: Sequence[Row]) -> go.Figure:
    """Gain of each arm by the judge against its KL from SFT, both with 95 % intervals."""
    shown = [row for row in rows if None not in (row["judge"]["gain"], row["kl"])]
    points = [{"arm": row["arm"], "group": row["group"], "x": row["kl"], "x_low": row["kl_low"],
               "x_high": row["kl_high"], "y": row["judge"]["gain"],
               "y_low": row["judge"]["gain_low"], "y_high": row["judge"]["gain_high"]}
              for row in shown]
    figure = go.Figure()
    named = _add_points(figure, points)
    figure.add_hline(y=0, line=EVEN_LINE)
    counts = between(row["judge"]["n"] for row in shown) if shown else "0"
    return style_figure(
        figure, _movement_finding(shown),
        f"n = {counts} held-out prompts (gain) and "
        f"{between(row['kl_n'] for row in shown) if shown else 0} validation prompts (KL), 95 % "
        f"intervals; {named}",
        "KL from SFT (nats an answer, at temperature 1)",
        "gain over SFT by the judge (SD of SFT's answers to a prompt)", plot_height=HIGH)


def win_cost_figure(arms: Sequence[Row], verdicts: Sequence[Row],
                    payments: Sequence[Row]) -> go.Figure:
    """Win rate over SFT by the judge against the work of learning; Best-of-N pays later."""
    known = {row["arm"]: row for row in arms}
    work = {name: work_of(row) for name, row in known.items()}
    shown = [row for row in verdicts if row["judge"] == "judge" and row["a"] in work and row["n"]]
    points = [{"arm": row["a"], "group": known[row["a"]]["group"], "x": work[row["a"]] / 1000,
               "y": row["win_rate"], "y_low": row["ci_low"], "y_high": row["ci_high"]}
              for row in shown]
    figure = go.Figure()
    later = [row for row in payments if row["judge"] == "judge" and row["n"]
             and System.parse(row["a"]).rule == BEST]
    named = _add_points(figure, points, [row["win_rate"] for row in later])
    ends = [min((point["x"] for point in points), default=0),
            max((point["x"] for point in points), default=1)]
    for row, dash in zip(later, DASHES, strict=False):
        figure.add_scatter(x=ends, y=[row["win_rate"]] * 2, mode="lines",
                           line={"dash": dash, "color": GREY},
                           name=f"{readable(row['a'])}: paid with every answer")
    figure.add_hline(y=0.5, line=EVEN_LINE)
    methods = [row for row in shown if not known[row["a"]]["check"]]
    style_figure(figure, _cost_finding(methods, work),
                 f"n = {between(row['n'] for row in shown) if shown else 0} held-out prompts, "
                 "95 % intervals; work: a generated token counts 1, a trained one 3; "
                 f"{named}",
                 "work before the first answer (thousand tokens)", "share of prompts won over SFT",
                 plot_height=HIGH)
    return figure.update_yaxes(tickformat=".0%")


def _add_points(figure: go.Figure, points: Sequence[Row], also: Sequence[float] = ()) -> str:
    """A mark for each arm in the look of its group, named where there is room; says how many are.

    The x axis is logarithmic where its values lie far apart.
    points: {"arm", "group", "x", "y", "y_low", "y_high"} and, for an interval along x, "x_low" and
    "x_high". also: further values that the y axis has to hold.
    """
    if not points:
        return "no arm"
    spans = [_span([point.get(key) for point in points for key in (axis, f"{axis}_low",
                                                                   f"{axis}_high")] + list(more))
             for axis, more in (("x", ()), ("y", also))]
    across_all = np.array([point["x"] for point in points])
    if wide := across_all.min() > 0 and across_all.max() > WIDE_RANGE * across_all.min():
        across_all = np.log10(across_all)
        spans[0] = _span(across_all.tolist())
    places = list(zip(WIDE * (across_all - spans[0][0]) / np.ptp(spans[0]),
                      [HIGH * (spans[1][1] - point["y"]) / np.ptp(spans[1]) for point in points],
                      strict=True))
    sides = fitting_names([point["arm"] for point in points], places)
    groups = list(dict.fromkeys(point["group"] for point in points))
    for group, look in zip(groups, GROUP_LOOKS, strict=False):
        mine = [(point, side) for point, side in zip(points, sides, strict=True)
                if point["group"] == group]
        x, y, low, high, names = columns([point for point, _ in mine], "x", "y", "y_low", "y_high",
                                         "arm")
        across = error_bars(x, *columns([point for point, _ in mine], "x_low", "x_high")) \
            if "x_low" in points[0] else None
        add_marks(figure, group, look, x, y, (low, high), error_x=across, customdata=names,
                  mode="markers+text", text=[point["arm"] if side else "" for point, side in mine],
                  textposition=[side or "top center" for _, side in mine],
                  textfont={"size": 11, "color": look[0]},
                  hovertemplate="%{customdata}: %{y:.3f} at %{x:.3g}")
    figure.update_traces(error_x_thickness=1, error_x_width=0, error_y_thickness=1,
                         error_y_width=0)
    figure.update_xaxes(range=spans[0])
    if wide:  # else Plotly writes the 3 of 30 as "3"
        figure.update_xaxes(type="log", tickvals=[
            digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)])
    figure.update_yaxes(range=spans[1])
    return f"{sum(map(bool, sides))} of {len(points)} arms are named"


def fitting_names(names: Sequence[str], places: Sequence[tuple[float, float]]) -> list[str | None]:
    """At which side of its mark each name stands (of `SIDES`), None where there is no room.

    places: marks in pixels from the upper left of the plot. No name touches another, another's
    mark, or the plot's edge; the outermost marks come first.
    """
    middle = np.median(places, axis=0)
    apart = np.abs((np.asarray(places) - middle) / (WIDE, HIGH)).max(axis=1)
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    taken: list[Box] = [(-WIDE, -HIGH, 0, 2 * HIGH), (WIDE, -HIGH, 2 * WIDE, 2 * HIGH),
                        (-WIDE, -HIGH, 2 * WIDE, 0), (-WIDE, HIGH, 2 * WIDE, 2 * HIGH)]
    found: list[str | None] = [None] * len(names)
    for place in np.argsort(-apart, kind="stable"):
        for side in SIDES:
            box = _box(names[place], places[place], side)
            others = [*taken, *marks[:place], *marks[place + 1:]]
            if not any(_touch(box, other) for other in others):
                found[place] = side
                taken.append(box)
                break
    return found


def _box(name: str, place: tuple[float, float], side: str) -> Box:
    lengths, line = SIDES[side]
    wide = LETTER * len(name)
    left = place[0] + lengths * wide + (0 if line else AWAY * (1 + 2 * lengths))
    top = place[1] - TALL / 2 + line * (TALL / 2 + AWAY)
    return left, top, left + wide, top + TALL


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _span(values: Sequence[float | None]) -> list[float]:
    """An axis that holds the values, with some room at its ends."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    room = 0.08 * (high - low) or 0.5
    return [low - room, high + room]


def _rates_finding(first: Sequence[Row]) -> str:
    methods = [row for row in first if not row["check"] and row["n"]]
    better = [row for row in methods if row["verdict"] == "better"]
    if not methods:
        return "No method was compared"
    who = f"{who_beats(len(better), len(methods))} by the judge after Holm's correction"
    if not better:
        return f"{who}; the highest rate is {methods[0]['arm']}'s, {methods[0]['win_rate']:.0%}"
    return f"{who}, {better[0]['arm']} most often ({better[0]['win_rate']:.0%})"


def _cost_finding(methods: Sequence[Row], work: Mapping[str, float]) -> str:
    better = [row for row in methods if verdict(row) == "better"]
    best = max(better or methods, key=lambda row: row["win_rate"], default=None)
    if best is None:
        return "No method was compared"
    if not better:
        return ("No method beats SFT by the judge, whatever its work; the highest rate is "
                f"{best['a']}'s, {best['win_rate']:.0%}")
    return (f"{best['a']} wins most of the trained methods, {best['win_rate']:.0%} over SFT by the "
            f"judge, for {work[best['a']] / 1000:,.0f} thousand tokens of work")


def _movement_finding(rows: Sequence[Row]) -> str:
    if not rows:
        return "No arm has a gain to show"
    far, best = (max(rows, key=key) for key in (lambda row: row["kl"],
                                                lambda row: row["judge"]["gain"]))
    if not any((row["judge"]["gain_low"] or 0) > 0 for row in rows):
        return (f"{far['arm']} moves furthest ({far['kl']:.2f} nats), and no arm's gain by the "
                "judge is above 0 for sure")
    if far is best:
        return f"{far['arm']} moves furthest ({far['kl']:.2f} nats) and gains most"
    return (f"{far['arm']} moves furthest ({far['kl']:.2f} nats), {best['arm']} gains most "
            f"({best['judge']['gain']:+.2f} at {best['kl']:.2f} nats)")
