"""Notebook 06's figures: reward against movement, and win rate against cost."""

from collections.abc import Sequence

import plotly.graph_objects as go

from lib.analysis.figures.theme import (
    EVEN_LINE,
    GREY,
    add_marks,
    between,
    columns,
    error_bars,
    looks,
    readable,
    style_figure,
)
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

PASSES = 3  # a trained token costs a forward and a backward of twice its work


def reward_kl_figure(rows: Sequence[Row]) -> go.Figure:
    """Gain of each arm by the judge against its KL from SFT, both with 95 % intervals."""
    shown = [row for row in rows if None not in (row["judge"]["gain"], row["kl"])]
    figure, names = go.Figure(), [row["arm"] for row in shown]
    for row in shown:
        gain = row["judge"]
        add_marks(figure, row["arm"], looks(names)[row["arm"]], [row["kl"]], [gain["gain"]],
                  ([gain["gain_low"]], [gain["gain_high"]]),
                  error_x=error_bars([row["kl"]], [row["kl_low"]], [row["kl_high"]]))
    figure.add_hline(y=0, line=EVEN_LINE)
    counts = between(row["judge"]["n"] for row in shown) if shown else "0"
    return style_figure(
        figure, _movement_finding(shown),
        f"n = {counts} held-out prompts (gain) and "
        f"{between(row['kl_n'] for row in shown) if shown else 0} validation prompts (KL)",
        "KL from SFT (nats an answer, at temperature 1)",
        "gain over SFT by the judge (SD of SFT's answers to a prompt)")


def win_cost_figure(arms: Sequence[Row], verdicts: Sequence[Row],
                    payments: Sequence[Row]) -> go.Figure:
    """Win rate over SFT by the judge against the work of learning; Best-of-N pays later."""
    work = {row["arm"]: row["generated_tokens"] + PASSES * row["trained_tokens"] for row in arms}
    points = [row for row in verdicts if row["judge"] == "judge" and row["a"] in work]
    figure, names = go.Figure(), [row["a"] for row in points]
    for row in points:
        value, *ends = columns([row], "win_rate", "ci_low", "ci_high")
        add_marks(figure, row["a"], looks(names)[row["a"]], [work[row["a"]] / 1000], value, ends)
    for row in payments:
        if row["judge"] == "judge" and System.parse(row["a"]).rule == BEST:
            figure.add_hline(y=row["win_rate"], line={"dash": "dash", "color": GREY}, annotation={
                "text": f"{readable(row['a'])}: paid with every answer", "font_color": GREY})
    figure.add_hline(y=0.5, line=EVEN_LINE)
    best = max(points, key=lambda row: row["win_rate"], default=None)
    finding = "No arm was compared" if best is None else (
        f"{best['a']} wins most, {best['win_rate']:.0%} over SFT by the judge, for "
        f"{work[best['a']] / 1000:,.0f} thousand tokens of work")
    style_figure(figure, finding,
                 f"n = {between(row['n'] for row in points) if points else 0} held-out prompts, "
                 "95 % intervals; work: a generated token counts 1, a trained one 3",
                 "work before the first answer (thousand tokens)", "share of prompts won over SFT")
    return figure.update_yaxes(tickformat=".0%")


def _movement_finding(rows: Sequence[Row]) -> str:
    if not rows:
        return "No arm has a gain to show"
    far, best = (max(rows, key=key) for key in (lambda row: row["kl"],
                                                lambda row: row["judge"]["gain"]))
    if far is best:
        return f"{far['arm']} moves furthest ({far['kl']:.2f} nats) and gains most"
    return (f"{far['arm']} moves furthest ({far['kl']:.2f} nats), {best['arm']} gains most "
            f"({best['judge']['gain']:+.2f} at {best['kl']:.2f} nats)")
