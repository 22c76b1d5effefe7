"""What a notebook saw, in sentences that read the numbers and so stay true when these change."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.tables.data import PARTS, dropped
from lib.analysis.tables.formatting import (
    as_markdown,
    bullets,
    format_number,
    format_rate,
    interval,
    sentence,
)
from lib.runtime.files import Row


def data_findings(report: Mapping[str, Any]) -> str:
    """Notebook 01: rows kept, dropped, truncated, overlapping."""
    lines = [f"**{name}**: {found['kept']:,} of {found['rows']:,} rows were kept; dropped: "
             f"{dropped(found['dropped'])}; cut at the limit: {found['truncated']:,}; without "
             f"their end-of-turn token: {found['lost_end']:,}."
             for name, found in ((name, report[part]) for part, name in PARTS.items())]
    overlap = report["overlap"]
    return bullets([*lines, (
        f"Between {overlap['train']:,} training and {overlap['heldout']:,} held-out prompts there "
        f"are {len(overlap['exact']):,} exact and {len(overlap['near']):,} near matches.")])


def sft_findings(metrics: Sequence[Row]) -> str:
    """Notebook 02: what fine-tuning did to the validation loss."""
    losses = [row["loss"] for row in metrics if row["split"] == "validation"]
    steps = [row for row in metrics if row["split"] == "train"]
    if not losses or not steps:
        return "No validation rows were set aside, so there is no loss to report."
    return bullets([
        f"The validation loss {_change(losses[0], losses[-1], 3)} nats a response token.",
        f"Training read {steps[-1]['num_tokens']:,} tokens in {len(steps):,} optimizer steps."])


def dpo_findings(metrics: Sequence[Row], accuracy: Row | None = None, heading: str = "") -> str:
    """Notebook 03: what DPO reached, the accuracy's interval, and what became of the answers.

    accuracy: of `policies.displacement.reward_accuracy`. heading: whose findings these are, where
    two runs are shown.
    """
    last = [row for row in metrics if row["split"] == "validation"][-1]
    loss, margin, chosen, rejected = (format_number(last[key], 3) for key in (
        "loss", "rewards/margins", "rewards/chosen", "rewards/rejected"))
    lines = [f"On {last['n']:,} validation pairs the loss ends at {loss} (it starts at ln 2 = "
             f".693) and the margin at {margin}; the chosen answers' reward is {chosen}, the "
             f"rejected ones' {rejected}."]
    if accuracy:
        verb = "excludes" if accuracy["ci_low"] > 0.5 else "includes"
        lines.append(f"The reward accuracy is {accuracy_words(accuracy)}; the interval counts "
                     f"prompts, because pairs of one prompt are correlated, and {verb} .50.")
    found = bullets([*lines, *_sample_lines(metrics)])
    return f"**{as_markdown(heading)}**\n\n{found}" if heading else found


def accuracy_words(accuracy: Row) -> str:
    """`.63 [.53, .73] on 138 pairs`, from a row of `policies.displacement.reward_accuracy`."""
    return f"{interval(accuracy, 'accuracy')} on {accuracy['n']:,} pairs"


def _sample_lines(metrics: Sequence[Row]) -> list[str]:
    samples = [row for row in metrics if row["split"] == "samples"]
    if len(samples) < 2:
        return []
    first, last = samples[0], samples[-1]
    score = _change(first["judge_score"], last["judge_score"])
    repetition = _change(first["repetition"], last["repetition"], 3)
    return [f"The judge's mean score of {last['n']:,} fresh validation answers {score}; the share "
            f"of repeated 4-grams {repetition}."]


def best_of_n_findings(curves: Sequence[Row], gains: Sequence[Row] = (),
                       rules: Sequence[Row] = (), costs: Sequence[Row] = ()) -> str:
    """Notebook 04: each curve's end by both judges, what the judge confirms, rules, and costs."""
    lines = []
    for policy, heat in dict.fromkeys((row["policy"], row["temperature"]) for row in curves):
        ends = {row["judge"]: row for row in curves
                if (row["policy"], row["temperature"]) == (policy, heat)}
        shown = ", ".join(f"{interval(row, 'value')} of prompts by the {judge}"
                          for judge, row in ends.items())
        n = next(iter(ends.values()))["n"]
        lines.append(f"The best of {n} answers of {policy} at T = {heat:g} beats one SFT answer in "
                     f"{shown}; selection among equal policies alone gives "
                     f"{format_number(n / (n + 1))}.")
    return bullets([*lines, *_confirmed(gains), *_rule_lines(rules), *_cost_lines(costs)])


def _confirmed(gains: Sequence[Row]) -> list[str]:
    """How much of the selector's gain the judge sees, over all pools."""
    ends = {(row["policy"], row["temperature"], row["judge"]): row for row in gains}
    shares = [ends[policy, heat, "judge"]["value"] / row["value"]
              for (policy, heat, judge), row in ends.items()
              if judge == "selector" and row["value"] > 0 and (policy, heat, "judge") in ends]
    return [f"Of the gain that the selector sees, in units of its spread, the judge confirms "
            f"{format_number(min(shares))} to {format_number(max(shares))}."] if shares else []


def _rule_lines(rules: Sequence[Row], judge: str = "judge") -> list[str]:
    lines = []
    for policy in dict.fromkeys(row["policy"] for row in rules):
        rated = [row for row in rules if (row["policy"], row["judge"]) == (policy, judge)]
        if rated:
            best = max(rated, key=lambda row: row["value"])
            ahead = "" if best["rule"] == "best of n" else (
                f", {interval(best, 'lead', 'lead_low', 'lead_high')} more than plain best of n")
            lines.append(f"{policy}: of {len(rated)} ways to pick, \"{best['rule']}\" does best by "
                         f"the {judge}: {interval(best, 'value')}{ahead}.")
    return lines


def _cost_lines(costs: Sequence[Row]) -> list[str]:
    """The cheapest and the dearest pool by new tokens, with what they gain."""
    known = sorted((row for row in costs if row["tokens"] is not None and row["gain"] is not None),
                   key=lambda row: row["tokens"])
    return [f"{row['pool']}: {row['tokens']:,.0f} new tokens a prompt buy {interval(row, 'gain')} "
            f"of win rate by the judge, from one candidate to {row['n']}."
            for row in known[:1] + known[1:][-1:]]


def analysis_findings(win_rates: Sequence[Row], judge: str = "judge") -> str:
    """Notebook 05: every comparison by the judge in a sentence, null results included."""
    return bullets([sentence(row) for row in win_rates if row["judge"] == judge])


def confound(win_rates: Sequence[Row], audit: Sequence[Row], a: str, b: str) -> str:
    """One comparison by the selector, the judge and the blind reader: who flatters whom."""
    found = {row["judge"]: format_rate(row) for row in win_rates if (row["a"], row["b"]) == (a, b)}
    found |= {row["judge"]: format_rate(row) for row in audit
              if (row["a"], row["b"], row["judge"]) == (a, b, "blind reader")}
    shown = "; ".join(f"{who}: {value}" for who, value in found.items())
    return as_markdown(f"**{a} over {b}**: {shown}.")


def _change(before: float, after: float, digits: int = 2) -> str:
    """`falls from .71 to .63`; as far as the digits show."""
    first, last = format_number(before, digits), format_number(after, digits)
    verb = "stays at" if first == last else "rises from" if after > before else "falls from"
    return f"{verb} {first}" + ("" if first == last else f" to {last}")
