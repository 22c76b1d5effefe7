"""What a notebook saw, in sentences that read the numbers and so stay true when these change."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.tables.formatting import number, rate, sentence

Row = dict[str, Any]


def data_findings(report: Mapping[str, Any]) -> str:
    """Notebook 01: rows kept, dropped, truncated, overlapping."""
    lines = []
    for part in ("sft", "preferences", "heldout"):
        found = report[part]
        dropped = ", ".join(f"{count} {reason.replace('_', ' ')}"
                            for reason, count in found["dropped"].items()) or "none"
        lines.append(f"**{part}**: {found['kept']} of {found['rows']} rows kept ({dropped} "
                     f"dropped), {found['truncated']} truncated, {found['lost_end']} without their "
                     "end-of-turn token.")
    overlap = report["overlap"]
    lines.append(f"Overlap of {overlap['train']} training prompts with {overlap['heldout']} "
                 f"held-out ones: {len(overlap['exact'])} exact, {len(overlap['near'])} near.")
    return _bullets(lines)


def sft_findings(metrics: Sequence[Row]) -> str:
    """Notebook 02: what fine-tuning did to the validation loss."""
    losses = [row["loss"] for row in metrics if row["split"] == "validation"]
    steps = [row for row in metrics if row["split"] == "train"]
    if not losses or not steps:
        return "No validation rows were set aside, so there is no loss to report."
    word = "fell" if losses[-1] < losses[0] else "did not fall"
    return _bullets([
        f"Validation loss {word}: {losses[0]:.3f} to {losses[-1]:.3f} nats a response token.",
        f"{steps[-1]['num_tokens']:,} tokens in {len(steps)} optimizer steps."])


def dpo_findings(metrics: Sequence[Row], accuracy: Row | None = None) -> str:
    """Notebook 03: accuracy with its interval, and what became of the answers meanwhile."""
    last = [row for row in metrics if row["split"] == "validation"][-1]
    lines = [f"Loss {last['loss']:.3f} (ln 2 = 0.693 at the start), margin "
             f"{last['rewards/margins']:.3f}, chosen reward {last['rewards/chosen']:.3f}, rejected "
             f"{last['rewards/rejected']:.3f}, on {last['n']} validation pairs."]
    if accuracy:
        clear = "excludes" if accuracy["ci_low"] > 0.5 else "includes"
        lines.append(f"Reward accuracy {_interval(accuracy, 'accuracy')} on {accuracy['n']} pairs "
                     f"(pairs of a prompt hang together): the interval {clear} .5.")
    return _bullets([*lines, *_sample_lines(metrics)])


def _sample_lines(metrics: Sequence[Row]) -> list[str]:
    samples = [row for row in metrics if row["split"] == "samples"]
    if len(samples) < 2:
        return []
    first, last = samples[0], samples[-1]
    word = "fell" if last["judge_score"] < first["judge_score"] else "did not fall"
    repeated = "rose" if last["repetition"] > first["repetition"] else "did not rise"
    return [f"The judge's mean score of {last['n']} fresh validation answers {word}: "
            f"{first['judge_score']:.2f} to {last['judge_score']:.2f}; repetition {repeated}: "
            f"{first['repetition']:.3f} to {last['repetition']:.3f} of 4-grams."]


def best_of_n_findings(curves: Sequence[Row], gains: Sequence[Row] = (),
                       rules: Sequence[Row] = (), costs: Sequence[Row] = ()) -> str:
    """Notebook 04: each curve's end by both judges, what the judge confirms, rules, and costs."""
    lines = []
    for key in dict.fromkeys((row["policy"], row["temperature"]) for row in curves):
        ends = {row["judge"]: row for row in curves if (row["policy"], row["temperature"]) == key}
        shown = ", ".join(f"{_interval(row, 'value')} by the {judge}"
                          for judge, row in ends.items())
        n = next(iter(ends.values()))["n"]
        lines.append(f"{key[0]} at T = {key[1]:g}, best of {n} against one SFT answer: {shown}; "
                     f"selection alone from equal policies: {number(n / (n + 1))}.")
    return _bullets([*lines, *_confirmed(gains), *_rule_lines(rules), *_cost_lines(costs)])


def _confirmed(gains: Sequence[Row]) -> list[str]:
    """How much of the selector's gain the judge sees, over all pools."""
    ends = {(row["policy"], row["temperature"], row["judge"]): row for row in gains}
    shares = [ends[policy, heat, "judge"]["value"] / row["value"]
              for (policy, heat, judge), row in ends.items()
              if judge == "selector" and row["value"] > 0 and (policy, heat, "judge") in ends]
    return [f"Of what the selector believes to gain, in its own spread, the judge confirms "
            f"{min(shares):.0%} to {max(shares):.0%}."] if shares else []


def _rule_lines(rules: Sequence[Row], judge: str = "judge") -> list[str]:
    lines = []
    for policy in dict.fromkeys(row["policy"] for row in rules):
        rated = [row for row in rules if (row["policy"], row["judge"]) == (policy, judge)]
        if rated:
            best = max(rated, key=lambda row: row["value"])
            against = "" if best["rule"] == "best of n" else (
                f", {best['lead']:+.2f} [{best['lead_low']:+.2f}, {best['lead_high']:+.2f}] beside "
                "plain best of n")
            lines.append(f"{policy}: of {len(rated)} ways to pick, \"{best['rule']}\" does best by "
                         f"the {judge}: {_interval(best, 'value')}{against}.")
    return lines


def _cost_lines(costs: Sequence[Row]) -> list[str]:
    """The cheapest and the dearest pool by new tokens, with what they gain."""
    known = sorted((row for row in costs if row["tokens"] is not None and row["gain"] is not None),
                   key=lambda row: row["tokens"])
    return [f"{row['pool']}: {row['tokens']:.0f} new tokens a prompt buy {row['gain']:+.2f} "
            f"[{row['ci_low']:+.2f}, {row['ci_high']:+.2f}] of win rate by the judge, from one "
            f"candidate to {row['n']}." for row in known[:1] + known[1:][-1:]]


def analysis_findings(win_rates: Sequence[Row], judge: str = "judge") -> str:
    """Notebook 05: every comparison by the judge in a sentence, null results included."""
    return _bullets([sentence(row) for row in win_rates if row["judge"] == judge])


def confound(win_rates: Sequence[Row], audit: Sequence[Row], a: str, b: str) -> str:
    """One comparison by the selector, the judge and the blind reader: who flatters whom."""
    found = {row["judge"]: rate(row) for row in win_rates if (row["a"], row["b"]) == (a, b)}
    found |= {row["judge"]: rate(row) for row in audit
              if (row["a"], row["b"], row["judge"]) == (a, b, "blind reader")}
    shown = "; ".join(f"{who}: {value}" for who, value in found.items())
    return f"**{a} over {b}**: {shown}."


def _interval(row: Row, key: str) -> str:
    return rate({"win_rate": row[key], "ci_low": row["ci_low"], "ci_high": row["ci_high"]})


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
