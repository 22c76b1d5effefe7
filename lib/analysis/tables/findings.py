"""Findings of the notebooks as sentences that are computed from the numbers."""

from collections.abc import Sequence

from lib.analysis.policies.warning import harmful, probe_change, probe_intervals
from lib.analysis.tables.formatting import (
    as_markdown,
    bullets,
    format_number,
    interval,
    verdict_lines,
)
from lib.runtime.files import Record, Row


def sft_findings(metrics: Sequence[Row]) -> str:
    """Notebook 02: what fine-tuning did to the validation loss."""
    losses = [row["loss"] for row in metrics if row["split"] == "validation"]
    steps = [row for row in metrics if row["split"] == "train"]
    if not losses or not steps:
        return "No validation rows were set aside, so there is no loss to report."
    return bullets([
        f"The validation loss {_change(losses[0], losses[-1], 3)} nats a response token.",
        f"Training read {steps[-1]['num_tokens']:,} tokens in {len(steps):,} optimizer steps."])


def dpo_findings(metrics: Sequence[Row], accuracy: Row | None = None) -> str:
    """Notebook 03: loss, margin and accuracy on validation pairs, and the change of the answers.

    accuracy: of `policies.displacement.reward_accuracy`.
    """
    validated = [row for row in metrics if row["split"] == "validation"]
    if not validated:
        return bullets(["No validation pairs were set aside, so there is no margin and no accuracy "
                        "to report.", *_sample_lines(metrics)])
    first, last = validated[0], validated[-1]
    loss, margin, chosen, rejected = (format_number(last[key], 3) for key in (
        "loss", "rewards/margins", "rewards/chosen", "rewards/rejected"))
    lines = [f"On {last['n']:,} validation pairs the loss ends at {loss} (it starts at "
             f"{format_number(first['loss'], 3)}) and the margin at {margin}; the chosen answers' "
             f"reward is {chosen}, the rejected ones' {rejected}."]
    if accuracy:
        verb = "includes" if accuracy["ci_low"] <= 0.5 <= accuracy["ci_high"] else "excludes"
        lines.append(f"The reward accuracy is {accuracy_words(accuracy)}; the interval counts "
                     f"prompts, because pairs of one prompt are correlated, and {verb} .50.")
    return bullets([*lines, *_sample_lines(metrics)])


def accuracy_words(accuracy: Row) -> str:
    """`.63 [.53, .73] on 138 pairs`, from a row of `policies.displacement.reward_accuracy`."""
    return f"{interval(accuracy, 'accuracy')} on {accuracy['n']:,} pairs"


def _sample_lines(metrics: Sequence[Row]) -> list[str]:
    samples = [row for row in metrics if row["split"] == "samples"]
    if len(samples) < 2:
        return []
    if not (samples[0]["n"] and samples[-1]["n"]):
        return ["The judge scored no fresh validation answer, so nothing is known of them."]
    ends = [probe_intervals(samples[0]), probe_intervals(samples[-1])]
    change = ""
    if "judge_scores" in samples[0]:  # an earlier run kept the means alone
        change = (f", a change of {interval(probe_change(samples), 'mean', 'low', 'high')} paired "
                  "by prompt")
    return [f"The judge's mean score of {ends[-1]['n']:,} fresh validation answers goes from "
            f"{from_to(ends, 'judge_score')}{change}; the share of repeated 4-grams goes from "
            f"{from_to(ends, 'repetition', 3)}."]


def from_to(rows: Sequence[Row], key: str, digits: int = 2) -> str:
    """`.51 [.40, .62] to .24 [.10, .38]`: a probe's measure before and after training."""
    return " to ".join(interval(row, key, f"{key}_low", f"{key}_high", digits) for row in rows)


def warning_findings(warning: Record) -> str:
    """Notebook 03: which factor lowers the judge's score of fresh answers, and who would see it."""
    effects = warning["effects"]
    if not effects:
        return "The four runs are not complete, so nothing can be said of them."
    pairs, rate, both = (interval(effects[name], "mean", "low", "high")
                         for name in ("pairs", "rate", "interaction"))
    found = harmful(effects)
    verdict = {("pairs", "rate"): "Both the kind of pairs and the learning rate do harm",
               ("pairs",): "The kind of pairs does harm; of the learning rate it is not shown",
               ("rate",): "The learning rate does harm; of the kind of pairs it is not shown",
               (): "Harm is shown neither of the kind of pairs nor of the learning rate"}[
                   tuple(found)]
    apart = effects["interaction"]["low"] > 0 or effects["interaction"]["high"] < 0
    return bullets([
        f"{verdict}: on {effects['pairs']['n']} prompts the judge's score changes by {pairs} with "
        f"written instead of on-policy pairs, and by {rate} with the high instead of the low rate.",
        f"The high rate's effect on written pairs differs from that on on-policy pairs by {both}, "
        + ("so the two do not simply add up." if apart else "which may be nothing."),
        _unseen_harm(warning["cells"])])


def _unseen_harm(cells: Sequence[Row]) -> str:
    """The cells whose accuracy lies above chance, and whose answers got worse, by the intervals."""
    hidden = [cell for cell in cells
              if cell["accuracy"]["ci_low"] > 0.5 and cell["change"]["high"] < 0]
    if not hidden:
        return ("In no run does the interval of the reward accuracy lie above one half while that "
                "of the answers' change lies below zero.")
    told = "; ".join(
        f"{cell['pairs'].replace('_', '-')} pairs at {cell['learning_rate']:g}: accuracy "
        f"{interval(cell['accuracy'], 'accuracy')}, answers' score changed by "
        f"{interval(cell['change'], 'mean', 'low', 'high')}" for cell in hidden)
    return ("The interval of the reward accuracy lies above one half while that of the answers' "
            f"change lies below zero: {told}.")


def best_of_n_findings(curves: Sequence[Row], costs: Sequence[Row] = ()) -> str:
    """Notebook 04: the largest n of each curve by both judges, and the costs of two pools."""
    lines = []
    for policy, heat in dict.fromkeys((row["policy"], row["temperature"]) for row in curves):
        ends = {row["judge"]: row for row in curves
                if (row["policy"], row["temperature"]) == (policy, heat)}
        shown = ", ".join(f"{interval(row, 'value')} of prompts by the {judge}"
                          for judge, row in ends.items())
        n = next(iter(ends.values()))["n"]
        lines.append(f"The best of {n} answers of {policy} at T = {heat:g} beats one SFT answer in "
                     f"{shown}.")
    sizes = sorted({row["n"] for row in curves})[-1:]
    counting = [f"By its own scores a selector of {n} gives {format_number(n / (n + 1))} to "
                "answers of equal worth." for n in sizes]
    return bullets([*lines, *counting, *_cost_lines(costs)])


def _cost_lines(costs: Sequence[Row]) -> list[str]:
    """The cheapest and the most expensive pool by new tokens, with their gains."""
    known = sorted((row for row in costs if row["tokens"] is not None and row["gain"] is not None),
                   key=lambda row: row["tokens"])
    return [f"{row['pool']}: {row['tokens']:,.0f} new tokens a prompt gain {interval(row, 'gain')} "
            f"of win rate by the judge, from one candidate to {row['n']}."
            for row in known[:1] + known[1:][-1:]]


def analysis_findings(win_rates: Sequence[Row], judge: str = "judge") -> str:
    """Notebook 05: what the judge decided and what it left open, null results included."""
    return bullets(verdict_lines([row for row in win_rates if row["judge"] == judge], judge))


def confound(rows: Sequence[Row], a: str, b: str) -> str:
    """One comparison by selector, judge and reader on the same answers; nothing without rows.

    rows: of `judges.same_answers`, a sentence for each set of answers; or win rates of one set,
    which do not say what the reader decides.
    """
    mine = [row for row in rows if (row["a"], row["b"]) == (a, b)]
    sets = dict.fromkeys(row.get("answers", "earlier answers") for row in mine)
    return " ".join(_on_same_answers([row for row in mine if row.get("answers", name) == name],
                                     f"{a} over {b}", name) for name in sets)


def _on_same_answers(rows: Sequence[Row], comparison: str, answers: str) -> str:
    shown = f"**{comparison}** ({answers}, {rows[0]['n']:,} prompts): " + _verdicts(
        rows, "win_rate", "ci")
    if decided := rows[0].get("decided"):
        shown += (f". On the {decided:,} that the reader decides: "
                  + _verdicts(rows, "decided_rate", "decided"))
    return as_markdown(f"{shown}.")


def _verdicts(rows: Sequence[Row], key: str, prefix: str) -> str:
    return "; ".join(f"{row['judge']} {interval(row, key, f'{prefix}_low', f'{prefix}_high')}"
                     for row in rows)


def forecast_findings(rows: Sequence[Row]) -> str:
    """What Best-of-N buys by the reader, in a sentence for each set of read answers."""
    return bullets([
        f"On {row['prompts']:,} prompts ({row['answers']}) the {row['reader']} orders "
        f"{interval(row, 'agreement', 'agreement_low', 'agreement_high')} of pairs as the selector "
        f"does. That forecasts {interval(row, 'value')} for the best of {row['n_candidates']} over "
        f"one draw, by the {row['reader']}{_even(row)}." for row in rows])


def _even(row: Row) -> str:
    return ": no gain is shown" if row["ci_low"] <= 0.5 <= row["ci_high"] else ""


def _change(before: float, after: float, digits: int = 2) -> str:
    """`falls from .71 to .63`; `stays at .71` where the digits do not change."""
    first, last = format_number(before, digits), format_number(after, digits)
    verb = "stays at" if first == last else "rises from" if after > before else "falls from"
    return f"{verb} {first}" + ("" if first == last else f" to {last}")
