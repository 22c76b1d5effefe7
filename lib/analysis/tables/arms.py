"""Notebook 06's tables: the arms, their budgets and results, and what a win costs where.

Rows of beyond.json in, Markdown and sentences out; the statistics are computed elsewhere.
"""

from collections.abc import Mapping, Sequence

from lib.analysis.tables.formatting import (
    as_markdown,
    bullets,
    format_number,
    format_rate,
    interval,
    interval_of,
    markdown_table,
    p_value,
)
from lib.runtime.files import Row

NO_ARMS = "This run has no arm; set for example beyond.arms=[offline_dpo,raft]."


def catalogue_table(rows: Sequence[Row]) -> str:
    """Every arm in a line: look at what each costs, and at what it is held against."""
    return markdown_table(rows, {key: key for key in (
        "arm", "idea", "formula", "cost", "control", "source")}, NO_ARMS)


def arms_table(rows: Sequence[Row], seed: int) -> str:
    """Budgets and movement: look at whether an arm that moved further also answers better."""
    return markdown_table(rows, {
        "arm": "arm", "seed": lambda _: seed,
        "generated tokens": "generated_tokens", "trained tokens": "trained_tokens",
        "seconds": lambda row: format_number(row["seconds"], 0),
        "KL from SFT, nats [95 %], n": lambda row: _counted(row, "kl", "kl", row["kl_n"]),
        "gain by the judge, SD [95 %], n": lambda row: _counted(
            row["judge"], "gain", "gain", row["judge"]["n"]),
        "tokens an answer [95 %]": interval_of("mean_tokens", "mean_tokens", 0),
        "repeated 4-grams [95 %]": interval_of("seq_rep_4", "seq_rep_4", 3),
        "cut off": lambda row: format_number(row["stopped_at_limit"]), "n": "n"}, NO_ARMS)


def payments_table(arms: Sequence[Row], verdicts: Sequence[Row], payments: Sequence[Row],
                   samples: int) -> str:
    """Pay at training or at inference: look at what the same win rate costs an answer.

    Training is counted in tokens generated and trained on beside SFT, inference in answers sampled
    for one that is shown. The study's own DPO trained on all pairs and answers once.
    """
    paid = {row["arm"]: row for row in arms}
    rows = [row for row in (*payments, *verdicts) if row["judge"] == "judge"]
    return markdown_table(rows, {
        "system": "a",
        "generated to learn": lambda row: _paid(paid, row, "generated_tokens"),
        "trained on": lambda row: _paid(paid, row, "trained_tokens"),
        "answers sampled for one": lambda row: samples if "+" in row["a"] else 1,
        "win rate over SFT [95 %]": format_rate, "n": "n",
        "Holm p": lambda row: p_value(row["holm_p"])})


def arms_findings(first: Sequence[Row], failed: Mapping[str, str]) -> str:
    """What to try first, in sentences; a null result is one, and so is an arm that failed."""
    lines = [f"{row['arm']} is {_verdict(row)}: {format_rate(row)} of {row['n']} prompts by the "
             f"judge (Holm's p {p_value(row['holm_p'])})." for row in first]
    better = [row["arm"] for row in first if row["verdict"] == "better"]
    if first:
        lines.insert(0, (f"Try {better[0]} first: of {len(first)} arms it wins most often over SFT."
                         if better else f"None of {len(first)} arms beats SFT by this judge after "
                         "Holm's correction: on this budget there is nothing to try first."))
    return bullets(lines + [f"{arm} failed: {why}." for arm, why in failed.items()]) or NO_ARMS


def controls_finding(rows: Sequence[Row]) -> str:
    """What each idea adds to its control, in sentences."""
    return bullets([f"{row['a']} over its control {row['b']}: {interval(row, 'win_rate')} of "
                    f"{row['n']} prompts by the judge." for row in rows
                    if row["judge"] == "judge"]) or as_markdown(
        "No arm of this run stands beside its control.")


def _counted(row: Row, key: str, prefix: str, n: int) -> str:
    return f"{interval(row, key, f'{prefix}_low', f'{prefix}_high')}, {n}"


def _paid(paid: Mapping[str, Row], row: Row, key: str) -> str:
    if row["a"] in paid:
        return format_number(paid[row["a"]][key])
    return "all pairs" if row["a"].startswith("dpo") and key == "trained_tokens" else "nothing"


def _verdict(row: Row) -> str:
    return {"better": "better than SFT", "worse": "worse than SFT"}.get(row["verdict"],
                                                                        "undecided")
