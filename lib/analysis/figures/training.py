"""Learning curves of `metrics.jsonl`: raw values pale, smoothed ones solid, validation dashed."""

from collections.abc import Mapping, Sequence
from math import exp, log

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lib.analysis.figures.theme import (
    EVEN_LINE,
    GREY,
    LOOKS,
    add_marks,
    between,
    direction,
    looks,
    style_figure,
)
from lib.analysis.policies.warning import probe_change, probe_intervals
from lib.analysis.statistics import exponential_moving_average
from lib.runtime.files import Row

PAPER_SMOOTHING = 0.95
STEP = "optimizer step"
REWARDS = {"simpo": "the mean log-probability of a token, without a reference",
           "length_normalised": "a token's mean log-ratio to the reference"}


def smoothing_for(steps: int) -> float:
    """A smoothing s that lags at most a fifth of the run: the paper's .95 from 95 steps on.

    An exponential average lags s / (1 - s) steps; s is rounded down to two digits.
    """
    lag = steps / 5
    return min(PAPER_SMOOTHING, int(100 * lag / (1 + lag) + 1e-9) / 100)


def sft_loss_figure(rows: Sequence[Row]) -> go.Figure:
    """Loss of response tokens over SFT, in training and on validation rows."""
    figure, losses, finding = _loss_curves(rows, "SFT", 2)
    if losses:
        finding += f" nats a token (perplexity {exp(losses[0]):.1f} to {exp(losses[-1]):.1f})"
    return style_figure(figure, finding, f"{_extent(rows)}; response tokens only", STEP,
                        "loss (nats a response token)")


def dpo_loss_figure(rows: Sequence[Row]) -> go.Figure:
    """DPO loss in training and on validation pairs, with ln 2 where the loss starts there.

    DPO's does; others of its family, such as IPO and SimPO, start elsewhere.
    """
    figure, losses, finding = _loss_curves(rows, "DPO", 3)
    if not losses or abs(losses[0] - log(2)) < 0.01:
        figure.add_hline(y=log(2), line=EVEN_LINE, annotation={
            "text": "ln 2: no preference learned", "font_color": GREY})
        finding += f" (ln 2 = {log(2):.3f})" if losses else ""
    return style_figure(figure, finding, _extent(rows), STEP, "DPO loss (nats a pair)")


def rewards_figure(rows: Sequence[Row], loss: str = "dpo") -> go.Figure:
    """Implicit rewards of chosen and rejected answers and their margin, as `loss` defines them."""
    figure = go.Figure()
    for name, key in (("chosen", "chosen"), ("rejected", "rejected"), ("margin", "margins")):
        _training_and_validation(figure, rows, f"rewards/{key}", name)
    for trace in figure.data[2::3]:  # the subtitle names them, and three names fit into one row
        trace.showlegend = False
    ends = [curve(rows, "validation", f"rewards/{name}")[1] for name in ("chosen", "rejected")]
    finding = "DPO: no validation rewards were recorded"
    if all(ends):
        chosen, rejected = (values[-1] for values in ends)
        finding = (f"DPO: the margin reaches {chosen - rejected:.3f}, with chosen at {chosen:+.3f} "
                   f"and rejected at {rejected:+.3f}")
    return style_figure(figure, finding,
                        f"{_extent(rows)} (dashed); beta times "
                        f"{REWARDS.get(loss, 'the log-ratio to the reference')}", STEP,
                        "implicit reward")


def accuracy_figure(rows: Sequence[Row], accuracy: Row | None = None) -> go.Figure:
    """Share of validation pairs whose chosen answer gets the higher implicit reward.

    accuracy: the final one as `displacement.reward_accuracy` gives it, whose interval counts
    prompts. Earlier evaluations have none: their pairs' rewards are not kept, and an interval that
    takes pairs of one prompt for independent is too short.
    """
    steps, values = curve(rows, "validation", "rewards/accuracies")
    figure, finding = go.Figure(), "DPO: no validation accuracy was recorded"
    add_marks(figure, "validation accuracy", LOOKS["accuracy"], steps, values,
              mode="lines+markers", showlegend=False)
    if values:
        finding = f"DPO: validation accuracy ends at {values[-1]:.2f}, without an interval"
    if values and accuracy:
        value, low, high = (accuracy[key] for key in ("accuracy", "ci_low", "ci_high"))
        verdict = "above chance" if low > 0.5 else "below chance" if high < 0.5 else \
            "not distinguishable from chance"
        add_marks(figure, "95 % interval", LOOKS["accuracy"], [steps[-1]], [value], ([low], [high]),
                  showlegend=False)
        finding = f"DPO: validation accuracy ends at {value:.2f} [{low:.2f}, {high:.2f}], {verdict}"
    figure.add_hline(y=0.5, line=EVEN_LINE, annotation={"text": "chance", "font_color": GREY},
                     annotation_position="top left")
    start = "; at step 0 both rewards are 0 and no pair counts as right" * (values[:1] == [0])
    style_figure(figure, finding, f"{_extent(rows)}; the 95 % interval counts prompts, not pairs"
                 + start, STEP, "reward accuracy")
    return figure.update_yaxes(range=[-0.03, 1.03])


def displacement_figure(rows: Sequence[Row], changes: Sequence[Row] = ()) -> go.Figure:
    """Change of the validation answers' log-probabilities: does chosen become less likely?

    changes: rows of `displacement.displacement`, for the intervals of the last evaluation.
    """
    figure, moved = go.Figure(), {}
    for name in ("chosen", "rejected"):
        steps, values = curve(rows, "validation", f"logps/{name}")
        moved[name] = [value - values[0] for value in values]
        add_marks(figure, name, LOOKS[name], steps, moved[name], mode="lines+markers")
        for row in (row for row in changes if row["side"] == name):
            add_marks(figure, "95 % interval", LOOKS[name], [steps[-1]], [row["change"]],
                      ([row["change_low"]], [row["change_high"]]), showlegend=False)
    figure.add_hline(y=0, line=EVEN_LINE)
    finding = "DPO: no validation log-probabilities were recorded"
    if moved["chosen"]:
        likely = " and ".join(
            f"the {name} ones {'more' if values[-1] > 0 else 'less'} likely "
            f"({values[-1]:+.1f} nats)" for name, values in moved.items())
        finding = f"Of the validation answers, DPO makes {likely}"
    return style_figure(figure, finding, f"{_extent(rows)}; sums over response tokens, from step 0"
                        + ("; 95 % intervals count prompts" if changes else ""), STEP,
                        "change of log-probability (nats an answer)")


def sample_quality_figure(runs: Mapping[str, Sequence[Row]]) -> go.Figure:
    """Reward accuracy above the judge's score and the repetition of fresh validation answers.

    runs: label -> metrics rows of runs on the same prompts; rows of split `samples` hold the two
    means, their `n` and, for the intervals, the value of every prompt. The accuracy can rise while
    the other two get worse.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    panels = (("validation", "rewards/accuracies", "reward<br>accuracy"),
              ("samples", "judge_score", "judge's<br>score"),
              ("samples", "repetition", "repeated<br>4-grams"))
    shown = looks(list(runs))
    for label, rows in runs.items():
        known = [probe_intervals(row) if row.get("split") == "samples" else row for row in rows]
        for panel, (split, key, _) in enumerate(panels, start=1):
            steps, values = curve(known, split, key)
            ends = [[row.get(f"{key}_{end}") for step in steps for row in known
                     if (row.get("split"), row["step"]) == (split, step)]
                    for end in ("low", "high")]
            add_marks(figure, label, shown[label], steps, values, ends, mode="lines+markers",
                      legendgroup=label, showlegend=panel == 1, row=panel, col=1)
    style_figure(figure, _warning(runs), _samples(runs), "", "", plot_height=420)
    for panel, (_, _, title) in enumerate(panels, start=1):
        figure.update_yaxes(title_text=title, row=panel, col=1)
    figure.update_yaxes(rangemode="nonnegative", row=3, col=1)
    return figure.update_xaxes(title_text=STEP, row=3, col=1)


def warning_figure(cells: Sequence[Row]) -> go.Figure:
    """Accuracy, the judge's score and repetition of kind of pairs times learning rate.

    cells: rows of `policies.warning.warning_cell`. The dotted lines are the start, the SFT model.
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    kinds = {kind: [cell for cell in cells if cell["pairs"] == kind]
             for kind in dict.fromkeys(cell["pairs"] for cell in cells)}
    shown = looks([_kind(kind) for kind in kinds])
    for kind, own in kinds.items():
        rates = [f"{cell['learning_rate']:g}" for cell in own]
        for panel, points in enumerate((
                [_ends(cell["accuracy"], "accuracy", "ci") for cell in own],
                [_ends(cell["end"], "judge_score", "judge_score") for cell in own],
                [_ends(cell["end"], "repetition", "repetition") for cell in own]), start=1):
            values, low, high = zip(*points, strict=True)
            add_marks(figure, _kind(kind), shown[_kind(kind)], rates, values, (low, high),
                      mode="lines+markers", legendgroup=kind, showlegend=panel == 1, row=panel,
                      col=1)
    for panel, level in ((1, 0.5), (2, cells[0]["start"]["judge_score"]),
                         (3, cells[0]["start"]["repetition"])):
        figure.add_hline(y=level, line=EVEN_LINE, row=panel, col=1)
    pairs, answers = ([cell[part]["n"] for cell in cells] for part in ("accuracy", "end"))
    style_figure(figure, _warning_finding(cells),
                 f"{cells[0]['steps']} steps each; n = {between(pairs)} validation pairs and "
                 f"{between(answers)} fresh answers, 95 % intervals; dotted: chance, or SFT",
                 "", "", plot_height=420)
    for panel, title in enumerate(("reward<br>accuracy", "judge's<br>score",
                                   "repeated<br>4-grams"), start=1):
        figure.update_yaxes(title_text=title, row=panel, col=1)
    figure.update_xaxes(type="category")
    return figure.update_xaxes(title_text="learning rate", row=3, col=1)


def _kind(pairs: str) -> str:
    return f"{pairs.replace('_', '-')} pairs"


def _ends(row: Row, key: str, ends: str) -> tuple[float, float, float]:
    value: float = row[key]
    return value, row.get(f"{ends}_low", value), row.get(f"{ends}_high", value)


def _warning_finding(cells: Sequence[Row]) -> str:
    worse = [f"{_kind(cell['pairs'])} at a learning rate of {cell['learning_rate']:g}"
             for cell in cells if cell["change"]["high"] < 0]
    return ("By the judge the answers got worse with " + ", ".join(worse) if worse else
            "In none of the four runs is it shown that the answers got worse")


def curve(rows: Sequence[Row], split: str, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric in one split, in order of steps; missing ones left out."""
    points = sorted((row["step"], row[key]) for row in rows
                    if row.get("split") == split and row.get(key) is not None)
    return [step for step, _ in points], [value for _, value in points]


def _loss_curves(rows: Sequence[Row], stage: str,
                 digits: int) -> tuple[go.Figure, list[float], str]:
    """A figure with the loss of a stage, the validation losses, and what became of them."""
    figure, (_, losses) = go.Figure(), curve(rows, "validation", "loss")
    _training_and_validation(figure, rows, "loss", "loss")
    return figure, losses, f"{stage}: " + (
        f"validation loss {direction(losses[0], losses[-1])} from {losses[0]:.{digits}f} to "
        f"{losses[-1]:.{digits}f}" if losses else "no validation loss was recorded")


def _training_and_validation(figure: go.Figure, rows: Sequence[Row], key: str, role: str) -> None:
    """One metric in its role's colour: raw values pale, smoothed ones solid, validation dashed."""
    colour = LOOKS[role][0]
    steps, values = curve(rows, "train", key)
    smoothing = smoothing_for(len(steps))
    figure.add_scatter(x=steps, y=values, mode="lines", opacity=0.4, showlegend=False,
                       line={"color": colour, "width": 1}, name=f"{role}, training, raw")
    figure.add_scatter(x=steps, y=exponential_moving_average(values, smoothing), mode="lines",
                       line={"color": colour, "width": 2.5},
                       name=f"{role} (training, smoothed by {smoothing:g})")
    steps, values = curve(rows, "validation", key)
    add_marks(figure, f"{role} (validation)", LOOKS[role], steps, values, mode="lines+markers",
              line_dash="dash")


def _extent(rows: Sequence[Row]) -> str:
    steps = max((row["step"] for row in rows), default=0)
    examples = [row["n"] for row in rows if row.get("split") == "validation" and "n" in row]
    return f"{steps} steps" + (f", n = {examples[-1]} validation examples" if examples else "")


def _warning(runs: Mapping[str, Sequence[Row]]) -> str:
    """The accuracy and the change of the judge's score of each run, in one sentence."""
    parts = []
    for label, rows in runs.items():
        _, accuracy = curve(rows, "validation", "rewards/accuracies")
        samples = [row for row in rows if row.get("split") == "samples"
                   and row["judge_score"] is not None]
        if accuracy and len(samples) > 1:
            parts.append(f"{label}: accuracy {accuracy[-1]:.2f}, the answers' score "
                         f"{_changed(samples)}")
    return "; ".join(parts) or "DPO: no answers were sampled during training"


def _changed(samples: Sequence[Row]) -> str:
    """What became of the judge's score, by its interval where each prompt's score was kept."""
    first, last = (round(samples[place]["judge_score"], 2) + 0.0 for place in (0, -1))  # no -0.00
    if "judge_scores" not in samples[0]:
        return f"goes from {first:.2f} to {last:.2f}"
    change = probe_change(samples)
    what = ("falls" if change["high"] < 0 else "rises" if change["low"] > 0
            else "is not shown to change")
    return f"{what} ({first:.2f} to {last:.2f}; {change['low']:+.2f} to {change['high']:+.2f})"


def _samples(runs: Mapping[str, Sequence[Row]]) -> str:
    counts = [row["n"] for rows in runs.values() for row in rows
              if row.get("split") == "samples" and "n" in row]
    n = (f"n = {counts[-1]} fresh answers to the same validation prompts at each point, "
         "95 % intervals; " if counts else "")
    return f"{n}accuracy alone does not show whether the answers get better"
