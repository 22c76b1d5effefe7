"""Learning curves from `metrics.jsonl`: raw values pale, smoothed ones and validation in front."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lib.analysis.figures.theme import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    SYMBOLS,
    direction,
    error_bars,
    framed,
)
from lib.analysis.statistics import exponential_moving_average
from lib.analysis.statistics.intervals import wilson_interval

Row = dict[str, Any]
SMOOTHING = 0.95
STEP = "optimizer step"


def sft_loss_figure(rows: Sequence[Row], smoothing: float = SMOOTHING) -> go.Figure:
    """Loss of response tokens over SFT: train raw and smoothed, validation."""
    figure = go.Figure()
    _raw_and_smoothed(figure, rows, "loss", "training", BLUE, smoothing)
    _validation(figure, rows, "loss", "validation", ORANGE)
    steps, losses = curve(rows, "validation", "loss")
    finding = "SFT: no validation loss was recorded"
    if losses:
        finding = (f"SFT: validation loss {direction(losses[0], losses[-1])} from {losses[0]:.2f} "
                   f"to {losses[-1]:.2f} nats a token (perplexity {exp(losses[0]):.1f} to "
                   f"{exp(losses[-1]):.1f})")
    return framed(figure, finding, f"{_extent(rows)}; response tokens only; smoothing "
                  f"{smoothing:g}", STEP, "loss (nats a response token)")


def dpo_loss_figure(rows: Sequence[Row], smoothing: float = SMOOTHING) -> go.Figure:
    """DPO loss, raw and smoothed, with ln 2, where every run starts."""
    figure = go.Figure()
    _raw_and_smoothed(figure, rows, "loss", "training", BLUE, smoothing)
    _validation(figure, rows, "loss", "validation", ORANGE)
    figure.add_hline(y=log(2), line={"dash": "dot", "color": GREY},
                     annotation={"text": "ln 2: no preference learnt", "font_color": GREY})
    _, losses = curve(rows, "validation", "loss")
    finding = "DPO: no validation loss was recorded"
    if losses:
        finding = (f"DPO: validation loss {direction(losses[0], losses[-1])} from {losses[0]:.3f} "
                   f"to {losses[-1]:.3f} (ln 2 = {log(2):.3f})")
    return framed(figure, finding, f"{_extent(rows)}; smoothing {smoothing:g}", STEP,
                  "DPO loss (nats a pair)")


def rewards_figure(rows: Sequence[Row], smoothing: float = SMOOTHING) -> go.Figure:
    """Implicit rewards of chosen and rejected answers and their margin."""
    figure = go.Figure()
    for name, colour in (("chosen", BLUE), ("rejected", ORANGE), ("margins", GREEN)):
        key, label = f"rewards/{name}", name.removesuffix("s")
        _raw_and_smoothed(figure, rows, key, f"{label}, training", colour, smoothing)
        _validation(figure, rows, key, f"{label}, validation", colour)
    ends = [curve(rows, "validation", f"rewards/{name}")[1] for name in ("chosen", "rejected")]
    finding = "DPO: no validation rewards were recorded"
    if all(ends):
        chosen, rejected = (values[-1] for values in ends)
        finding = (f"DPO: the margin reaches {chosen - rejected:.3f}, with chosen at {chosen:+.3f} "
                   f"and rejected at {rejected:+.3f}")
    return framed(figure, finding, f"{_extent(rows)}; beta times the log-ratio to the reference; "
                  f"smoothing {smoothing:g}", STEP, "implicit reward")


def accuracy_figure(rows: Sequence[Row]) -> go.Figure:
    """Share of validation pairs whose chosen answer gets the higher implicit reward."""
    trained = [row for row in rows if row["step"] > 0]  # at step 0 both rewards are 0
    steps, values = curve(trained, "validation", "rewards/accuracies")
    counts = [row.get("n", 0) for row in trained if row.get("split") == "validation"
              and "rewards/accuracies" in row]
    figure, finding = go.Figure(), "DPO: no validation accuracy was recorded"
    if values and all(counts):
        ends = [wilson_interval(value * n, n) for value, n in zip(values, counts, strict=True)]
        bars = error_bars(values, [low for low, _ in ends], [high for _, high in ends])
        figure.add_scatter(x=steps, y=values, mode="lines+markers", name="validation accuracy",
                           error_y=bars, line_color=BLUE)
        low, high = ends[-1]
        verdict = "above chance" if low > 0.5 else "below chance" if high < 0.5 else \
            "not told apart from chance"
        finding = (f"DPO: validation accuracy ends at {values[-1]:.2f} [{low:.2f}, {high:.2f}], "
                   f"{verdict}")
    figure.add_hline(y=0.5, line={"dash": "dot", "color": GREY},
                     annotation={"text": "chance", "font_color": GREY})
    return framed(figure, finding, f"n = {counts[-1] if counts else 0} pairs, 95 % intervals; "
                  "before training both rewards are 0", STEP, "reward accuracy")


def displacement_figure(rows: Sequence[Row], smoothing: float = SMOOTHING) -> go.Figure:
    """Log-probabilities of both answers: does the margin grow while chosen becomes less likely?"""
    figure = go.Figure()
    for name, colour in (("chosen", BLUE), ("rejected", ORANGE)):
        _raw_and_smoothed(figure, rows, f"logps/{name}", f"{name}, training", colour, smoothing)
        _validation(figure, rows, f"logps/{name}", f"{name}, validation", colour)
    _, chosen = curve(rows, "validation", "logps/chosen")
    finding = "DPO: no validation log-probabilities were recorded"
    if chosen:
        change = chosen[-1] - chosen[0]
        word = "more" if change > 0 else "less"
        finding = (f"DPO makes the chosen validation answers {word} likely "
                   f"({change:+.1f} nats an answer)")
    return framed(figure, finding, f"{_extent(rows)}; sums over response tokens; training batches "
                  "differ in length", STEP, "log-probability (nats an answer)")


def sample_quality_figure(runs: Mapping[str, Sequence[Row]], score: str = "judge_score",
                          repetition: str = "repetition") -> go.Figure:
    """Reward accuracy beside what fresh validation answers are worth, for runs on the same prompts.

    runs: label -> metrics rows; rows of split `samples` hold `score` and `repetition` (and their
    `n`). The panel on top can rise while the two below get worse.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    panels = (("validation", "rewards/accuracies", "reward<br>accuracy"),
              ("samples", score, "judge's<br>score"),
              ("samples", repetition, "repeated<br>4-grams"))
    for place, (label, rows) in enumerate(runs.items()):
        for panel, (split, key, _) in enumerate(panels, start=1):
            steps, values = curve(rows, split, key)
            if key == "rewards/accuracies" and steps[:1] == [0]:
                steps, values = steps[1:], values[1:]  # both rewards are 0 before training
            figure.add_scatter(x=steps, y=values, name=label, legendgroup=label, row=panel, col=1,
                               showlegend=panel == 1, mode="lines+markers",
                               line_color=PALETTE[place], marker_symbol=SYMBOLS[place])
    framed(figure, _warning(runs, score), _samples(runs), "", "")
    for panel, (_, _, title) in enumerate(panels, start=1):
        figure.update_yaxes(title_text=title, row=panel, col=1)
    figure.update_xaxes(title_text=STEP, row=3, col=1)
    return figure.update_layout(height=640)


def curve(rows: Sequence[Row], split: str, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric in one split, in order of steps; missing ones left out."""
    points = sorted((row["step"], row[key]) for row in rows
                    if row.get("split") == split and row.get(key) is not None)
    return [step for step, _ in points], [value for _, value in points]


def _raw_and_smoothed(figure: go.Figure, rows: Sequence[Row], key: str, name: str, colour: str,
                      smoothing: float) -> None:
    steps, values = curve(rows, "train", key)
    figure.add_scatter(x=steps, y=values, mode="lines", opacity=0.25, showlegend=False,
                       line={"color": colour, "width": 1}, name=f"{name}, raw")
    figure.add_scatter(x=steps, y=exponential_moving_average(values, smoothing), mode="lines",
                       line={"color": colour, "width": 2.5}, name=f"{name}, smoothed")


def _validation(figure: go.Figure, rows: Sequence[Row], key: str, name: str, colour: str) -> None:
    steps, values = curve(rows, "validation", key)
    figure.add_scatter(x=steps, y=values, mode="lines+markers", name=name,
                       line={"color": colour, "dash": "dash"}, marker={"size": 8})


def _extent(rows: Sequence[Row]) -> str:
    steps = max((row["step"] for row in rows), default=0)
    examples = [row["n"] for row in rows if row.get("split") == "validation" and "n" in row]
    return f"{steps} steps" + (f", n = {examples[-1]} validation examples" if examples else "")


def _warning(runs: Mapping[str, Sequence[Row]], score: str) -> str:
    """What happened to accuracy and to the judge's score in each run, in one sentence."""
    parts = []
    for label, rows in runs.items():
        _, accuracy = curve(rows, "validation", "rewards/accuracies")
        _, worth = curve(rows, "samples", score)
        if accuracy and len(worth) > 1:
            parts.append(f"{label}: accuracy {accuracy[-1]:.2f}, answers' score "
                         f"{direction(worth[0], worth[-1])} from {worth[0]:.2f} to {worth[-1]:.2f}")
    return "; ".join(parts) or "DPO: no answers were sampled during training"


def _samples(runs: Mapping[str, Sequence[Row]]) -> str:
    counts = [row["n"] for rows in runs.values() for row in rows
              if row.get("split") == "samples" and "n" in row]
    n = f"n = {counts[-1]} fresh answers to validation prompts at each point; " if counts else ""
    return f"{n}accuracy alone does not show whether the answers get better"
