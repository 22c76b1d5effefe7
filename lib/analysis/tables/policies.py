"""Tables of what became of the text and of the policies: constraints, repetition, loss, divergence.

Rows of `results.json` in, Markdown out; nothing is computed here but wording.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.comparisons.paper import DPO_EVAL
from lib.analysis.tables.formatting import interval, markdown_table, number, with_n

Row = dict[str, Any]
TEXT_COLUMNS = {
    "mean_tokens": "mean tokens", "stopped_at_limit": "stopped at the limit",
    "seq_rep_4": "repeated 4-grams", "loop_rate": "answers that loop", "distinct_1": "distinct-1",
    "distinct_2": "distinct-2", "self_bleu": "self-BLEU",
    "distinct_candidates": "different candidates",
    "effective_candidates": "effective candidates",
    "candidate_self_bleu": "candidates' self-BLEU"}
COUNTS = ("mean_tokens", "distinct_candidates", "effective_candidates")
SHARES = ("stopped_at_limit", "loop_rate")


def constraints_table(rows: Sequence[Row]) -> str:
    """Strict and loose accuracy of each system on constraints that a program checks."""
    found = {(row["system"], row["level"], row["mode"]): row for row in rows}
    names = list(dict.fromkeys(row["system"] for row in rows))
    if not names:
        return "No held-out prompt of this run carries a constraint."
    return markdown_table([{"system": name} for name in names], {"system": "system"} | {
        f"{mode}, by {level} [95 %]": lambda row, key=(level, mode): with_n(
            found[row["system"], *key], "accuracy")
        for level in ("prompt", "instruction") for mode in ("strict", "loose")})


def text_table(metrics: Mapping[str, Row]) -> str:
    """Length, repetition and variety of each system's answers, and of its candidates."""
    rows = [{"system": name} | row for name, row in metrics.items()]
    return markdown_table(rows, {"system": "system", "n": "n"} | {
        title: lambda row, key=key: _metric(row, key) for key, title in TEXT_COLUMNS.items()})


def retention_table(rows: Sequence[Row]) -> str:
    """Loss of each policy on conversations that it was not trained on."""
    return markdown_table(rows, {
        "policy": "policy", "conversations": "n", "tokens": lambda row: f"{row['tokens']:,}",
        "loss, nats a token [95 %]": lambda row: interval(row, "loss", digits=3),
        "perplexity": lambda row: f"{row['perplexity']:.2f}",
        "change from the policy above [95 %]": lambda row: interval(
            row, "change", "change_low", "change_high", 3)})


def choices_table(rows: Sequence[Row]) -> str:
    """How often each policy finds the true continuation among several."""
    if not rows:
        return "No choice among continuations was measured in this run."
    return markdown_table(rows, {
        "policy": "policy", "questions": "n", "by guessing": lambda row: number(row["chance"]),
        "right [95 %]": lambda row: interval(row, "accuracy"),
        "change from the policy above [95 %]": lambda row: interval(
            row, "change", "change_low", "change_high")})


def divergence_table(kl: Row) -> str:
    """KL of DPO from SFT on DPO's own answers, beside the most that Best-of-N adds."""
    return markdown_table([kl], {
        "answers": "n", "drawn at": lambda row: f"T = {row['temperature']:g}, top-k {row['top_k']}",
        "mean tokens": lambda row: f"{row['mean_tokens']:.0f}",
        "KL(DPO, SFT), nats an answer [95 %]": lambda row: interval(row, "kl"),
        "nats a token": lambda row: number(row["kl_per_token"], 4),
        "from sampled tokens alone [95 %]": lambda row: interval(row, "k1", "k1_low", "k1_high"),
        "best of n, at most": lambda row: f"{row['best_of_n_bound']:.2f} (n = {row['best_of_n']})"})


def displacement_table(rows: Sequence[Row]) -> str:
    """Log-probability of chosen and rejected validation answers before and after DPO."""
    if not rows:
        return "DPO was not evaluated twice, so no change can be shown."
    return markdown_table(rows, {
        "answers": "side", "n": "n", "before, nats": lambda row: f"{row['before']:.2f}",
        "after, nats": lambda row: f"{row['after']:.2f}",
        "change [95 %]": lambda row: interval(row, "change", "change_low", "change_high")})


def dpo_paper_table(dpo_eval: Row) -> str:
    """DPO's validation figures beside the paper's; intervals count prompts."""
    ends = dict(dpo_eval.get("intervals", {}))
    ends["rewards/accuracies"] = [dpo_eval["accuracy"][end] for end in ("ci_low", "ci_high")]
    rows = [{"metric": name, "paper": paper, "ours": dpo_eval.get(name)}
            | dict(zip(("ci_low", "ci_high"), ends.get(name, ()), strict=False))
            for name, paper in DPO_EVAL.items()]
    return markdown_table(rows, {
        "metric": "metric", "paper": lambda row: number(row["paper"], 4),
        f"ours, {dpo_eval['n']} validation pairs [95 %]": lambda row: interval(row, "ours",
                                                                               digits=3)})


def _metric(row: Row, key: str) -> str:
    digits = 1 if key in COUNTS else 2 if key in SHARES else 3
    return interval(row, key, f"{key}_low", f"{key}_high", digits)
