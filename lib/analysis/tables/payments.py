"""What a win costs, and where it is paid: at training or at inference.

Rows of beyond.json in, Markdown and sentences out; the statistics are computed elsewhere.
"""

from collections.abc import Mapping, Sequence

from lib.analysis.policies.arms import PASSES, verdict, who_beats, work_of
from lib.analysis.tables.formatting import (
    bullets,
    format_number,
    format_rate,
    markdown_table,
    p_value,
    with_n,
)
from lib.inference.systems import BEST, System
from lib.runtime.files import Row


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
        "answers sampled for one": lambda row: samples if System.parse(row["a"]).rule else 1,
        "win rate over SFT [95 %]": format_rate, "n": "n",
        "Holm p": lambda row: p_value(row["holm_p"])})


def payments_finding(arms: Sequence[Row], verdicts: Sequence[Row], payments: Sequence[Row],
                     samples: int, start: Row) -> str:
    """What paying at inference, at training, and at both buys, and where training is the cheaper.

    All rates are over one answer of SFT; start: length of SFT's answers.
    """
    paid = {System.parse(row["a"]): row for row in payments if row["judge"] == "judge"}
    picked = {system.policy: row for system, row in paid.items() if system.rule == BEST}
    known = {row["arm"]: row for row in arms if not row["check"]}
    methods = [row for row in verdicts if row["judge"] == "judge" and row["a"] in known]
    better = sorted((row for row in methods if verdict(row) == "better"),
                    key=lambda row: -row["win_rate"])
    lines = [f"Paid at {when}: {picked[policy]['a']} {_won(picked[policy])}; of every {samples} "
             "answers sampled one is shown." for policy, when in (
                 ("sft", "inference"), ("dpo", "training and inference")) if policy in picked]
    lines += [f"Paid at training, on all pairs: {row['a']} {_won(row)}; every answer sampled is "
              "shown." for system, row in paid.items() if system.rule is None]
    if not methods:
        return bullets([*lines, "Paid at training, on this budget: no method has a rate."])
    if not better:
        return bullets([*lines, f"{who_beats(0, len(methods))} by the judge after Holm's "
                        "correction, so on this budget no training is shown to be worth it."])
    best = better[0]
    lines.append(f"Paid at training, on this budget: {best['a']} {_won(best)}; every answer "
                 "sampled is shown. "
                 f"{who_beats(len(better), len(methods))}{', it most often' * (len(better) > 1)}.")
    if "sft" in picked and picked["sft"]["ci_low"] is not None:
        lines.append(_told_apart(best, picked["sft"]))
    if samples > 1:
        prompts = work_of(known[best["a"]]) / ((samples - 1) * start["mean_tokens"])
        lines.append(f"{best['a']} learned with as much work as it takes to sample the further "
                     f"answers to {format_number(round(prompts))} prompts (a trained token counts "
                     f"{PASSES} sampled ones); after so many, training is the cheaper.")
    return bullets(lines)


def _won(row: Row) -> str:
    kind = {"undecided": ", which is undecided", "worse": ", worse than SFT"}.get(verdict(row), "")
    return (f"wins {with_n(row)}{kind}" if row["win_rate"] is not None
            else "is not judged, because no answer has a score")


def _told_apart(one: Row, other: Row) -> str:
    """Two rates over SFT: told apart only where their intervals do not overlap."""
    high, low = sorted((one, other), key=lambda row: -row["win_rate"])
    if high["ci_low"] > low["ci_high"]:
        return (f"{high['a']} beats SFT more often than {low['a']} does: their intervals do not "
                "overlap.")
    return f"{one['a']} and {other['a']} are not told apart here: their intervals overlap."


def _paid(paid: Mapping[str, Row], row: Row, key: str) -> str:
    if row["a"] in paid:
        return format_number(paid[row["a"]][key])
    trained = System.parse(row["a"]).policy == "dpo" and key == "trained_tokens"
    return "all pairs" if trained else "nothing"
