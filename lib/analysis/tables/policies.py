"""Tables of texts and policies: constraints, repetition, loss, divergence, DPO's validation.

Rows of `results.json` in, Markdown out; the statistics are computed elsewhere.
"""

from collections.abc import Mapping, Sequence

from lib.analysis.comparisons.paper import DPO_EVAL
from lib.analysis.tables.formatting import (
    MISSING,
    Cell,
    crossed_table,
    format_number,
    interval,
    interval_of,
    markdown_table,
    number_of,
    with_n,
)
from lib.runtime.files import Row

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
    """Constraints that a program checks: look at whether training raised the strict accuracy."""
    ordered = sorted(rows, key=lambda row: row["level"], reverse=True)  # prompts first
    return crossed_table(
        ordered, "system", lambda row: f"{row['mode']}, by {row['level']} [95 %]",
        lambda row: with_n(row, "accuracy"), "No held-out prompt of this run has a constraint.")


def text_table(metrics: Mapping[str, Row]) -> str:
    """Each system's answers and candidates: look for loops and for answers cut at the limit."""
    rows = [{"system": name} | row for name, row in metrics.items()]

    def metric(key: str) -> Cell:
        return lambda row: _metric(row, key)

    return markdown_table(rows, {"system": "system", "n": "n", **{
        title: metric(key) for key, title in TEXT_COLUMNS.items()}})


def retention_table(rows: Sequence[Row]) -> str:
    """Loss on SFT's validation conversations: look at whether DPO raises it again."""
    return markdown_table(rows, {
        "policy": "policy", "conversations": "n", "tokens": "tokens",
        "loss, nats a token [95 %]": interval_of("loss", digits=3),
        "perplexity": number_of("perplexity"),
        "change from the policy above [95 %]": interval_of("change", "change", 3)},
        "No validation conversations were set aside.")


def choices_table(rows: Sequence[Row]) -> str:
    """Accuracy in choosing the true continuation: look at how far it exceeds guessing."""
    return markdown_table(rows, {
        "policy": "policy", "questions": "n", "by guessing": number_of("chance"),
        "right [95 %]": interval_of("accuracy"),
        "change from the policy above [95 %]": interval_of("change", "change")},
        "This run did not measure the choice among continuations.")


def divergence_table(movement: Row) -> str:
    """KL of DPO from SFT on DPO's own answers: look at the samplers' beside Best-of-N's bound.

    Both are relative to a sampler; the KL of whole policies is not.
    """
    rows = [{"compared": "whole vocabulary, T = 1"} | movement["kl"]]
    if sampler := movement.get("sampler_kl"):
        rows.append({"compared": "the run's samplers"} | sampler)
    return markdown_table(rows, {
        "compared": "compared", "answers": "n",
        "drawn at": lambda row: f"T = {row['temperature']:g}, top-k {row['top_k']}",
        "mean tokens": number_of("mean_tokens", 0),
        "KL(DPO, SFT), nats an answer [95 %]": interval_of("kl"),
        "nats a token": number_of("kl_per_token", 4),
        "from sampled tokens alone [95 %]": interval_of("k1", "k1"),
        "answers with a token that only DPO writes [95 %]": lambda row: interval(
            row, "outside", "outside_low", "outside_high"),
        "best of n, at most": lambda row: MISSING if row["compared"] != "the run's samplers" else (
            f"{format_number(row['best_of_n_bound'])} (n = {row['best_of_n']})")})


def displacement_table(rows: Sequence[Row]) -> str:
    """Log-probabilities of validation answers before and after DPO: look whether chosen falls."""
    return markdown_table(rows, {
        "answers": "side", "n": "n", "before, nats": number_of("before", 2),
        "after, nats": number_of("after", 2),
        "change [95 %]": interval_of("change", "change")},
        "DPO was not evaluated twice, so no change can be shown.")


def warning_table(cells: Sequence[Row]) -> str:
    """Kind of pairs times learning rate: look for high accuracy beside worse answers."""
    return markdown_table(cells, {
        "pairs": lambda row: row["pairs"].replace("_", "-"),
        "learning rate": lambda row: f"{row['learning_rate']:g}", "steps": "steps",
        "reward accuracy [95 %]": lambda row: with_n(row["accuracy"], "accuracy"),
        "margin [95 %]": lambda row: interval(row["margin"], "mean", "low", "high", 3),
        "judge's score of fresh answers [95 %]": lambda row: _probed(row, "judge_score", 2),
        "change from SFT [95 %]": lambda row: interval(row["change"], "mean", "low", "high"),
        "repeated 4-grams [95 %]": lambda row: _probed(row, "repetition", 3)},
        "This run has no warning.")


def _probed(cell: Row, key: str, digits: int) -> str:
    return interval(cell["end"], key, f"{key}_low", f"{key}_high", digits)


def dpo_paper_table(dpo_eval: Row) -> str:
    """DPO's validation beside the paper's: look at the interval of its accuracy."""
    accuracy = dpo_eval["accuracy"]  # of `displacement.reward_accuracy`
    if not accuracy:
        return "No validation pairs were set aside."
    ours = dict(dpo_eval) | {"rewards/accuracies": accuracy["accuracy"]}
    ends = dpo_eval.get("intervals", {}) | {
        "rewards/accuracies": [accuracy["ci_low"], accuracy["ci_high"]]}
    rows = [{"metric": name, "paper": paper, "ours": ours.get(name)}
            | dict(zip(("ci_low", "ci_high"), ends.get(name, ()), strict=False))
            for name, paper in DPO_EVAL.items()]
    return markdown_table(rows, {
        "metric": "metric", "paper": number_of("paper", 4),
        f"ours, {dpo_eval['n']:,} validation pairs [95 %]": interval_of("ours", digits=3)})


def _metric(row: Row, key: str) -> str:
    digits = 1 if key in COUNTS else 2 if key in SHARES else 3
    return interval(row, key, f"{key}_low", f"{key}_high", digits)
