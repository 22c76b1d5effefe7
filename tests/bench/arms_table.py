"""The report of `arms.py` as a table: did each arm move its own objective on validation prompts?"""

from collections.abc import Sequence

import numpy as np

from lib.analysis.statistics.bootstrap import resample_counts
from lib.analysis.tables.formatting import format_number, markdown_table
from lib.runtime.files import Row
from lib.study.beyond.catalogue import ARMS, Arm
from lib.study.beyond.settings import ANCHOR

FLIPPED = "flipped_labels"  # these arms' labels are noise, and the question is asked without it
AS_WITHOUT = (FLIPPED, "equal_movement", "lora_dpo", "adaptive_beta")  # another arm's rows and loss


def arms_table(lines: Sequence[Row]) -> str:
    """The report's lines as a Markdown table, and the names of the arms that it lacks."""
    missing = [name for name in ARMS if name not in {line["arm"] for line in lines}]
    table = markdown_table(table_rows(lines), {
        "arm": "arm", "objective, on validation": "objective",
        "before": lambda row: format_number(row["before"], 3),
        "after": lambda row: format_number(row["after"], 3),
        "change [95 %]": lambda row: f"{format_number(row['change'], 3)} {_interval(row)}",
        "n": "n", "verdict": "verdict", "steps": "steps", "tokens": "trained_tokens",
        "seconds": "seconds"})
    return f"{table}\n\nNot yet asked: {', '.join(missing)}." if missing else table


def change(after: Sequence[float], before: Sequence[float], weights: Sequence[float]) -> Row:
    """The weighted mean of after - before with its 95 % bootstrap interval over prompts."""
    sums = np.stack([np.subtract(after, before) * weights, weights], -1)  # [prompts, 2]
    drawn = np.concatenate([counts @ sums for counts in resample_counts(len(sums), 10_000, 0)])
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    total = sums.sum(0)
    return {"change": float(total[0] / total[1]), "low": float(low), "high": float(high)}


def table_rows(lines: Sequence[Row]) -> list[Row]:
    """A row for each objective of each arm, in the catalogue's order."""
    known = {line["arm"]: line for line in lines}
    return [_table_row(known, name, found) for name in ARMS if name in known
            for found in known[name]["found"]]


def _table_row(known: dict[str, Row], name: str, found: Row) -> Row:
    moved = change(found["after"], found["before"], found["weights"])
    ends = {end: np.average(found[end], weights=found["weights"]) for end in ("before", "after")}
    which = "" if found["name"] in ("training", "fresh") else f"{found['name']}: "
    return {key: known[name][key] for key in ("steps", "trained_tokens", "seconds")} | moved | {
        "arm": name, "objective": f"{which}{found['objective']}", **ends,
        "n": len(found["weights"]),
        "verdict": (_against(known, name, found) if FLIPPED in ARMS[name].function
                    else verdict(moved, found["sign"]))}


def verdict(moved: Row, sign: int) -> str:
    """moved, moved the wrong way or undecided; sign: +1 for what should rise, -1 for a loss."""
    low, high = sorted((sign * moved["low"], sign * moved["high"]))
    return "moved" if low > 0 else "moved the wrong way" if high < 0 else "undecided"


def _against(known: dict[str, Row], name: str, found: Row) -> str:
    """A flipped arm beside the same loss with its labels as they were: it must not be better."""
    control = without(ARMS[name]).name
    if control not in known:
        return f"{control} has not run"
    clean = known[control]["found"][0]
    gap = change(found["after"], clean["after"], found["weights"])
    ends = f"{format_number(gap['change'], 3)} {_interval(gap)}"
    return f"{'beats' if gap['high'] < 0 else 'does not beat'} {control}: {ends}" + (
        f", {_beats_start(found)} SFT" if dict(ARMS[name].options)["share"] == 0.5 else "")


def _beats_start(found: Row) -> str:
    """Whether labels of which half are flipped taught anything, which they cannot."""
    moved = change(found["after"], found["before"], found["weights"])
    return "beats" if moved["high"] < 0 else "does not beat"


def _interval(row: Row) -> str:
    return f"[{format_number(row['low'], 3)}, {format_number(row['high'], 3)}]"


def without(arm: Arm) -> Arm:
    """The arm whose rows and loss say what this one should do; itself for most."""
    if arm.function.split(":")[1] not in AS_WITHOUT:
        return arm
    loss = str(dict(arm.options).get("loss", "dpo"))
    return ARMS[ANCHOR if loss == "dpo" else loss]
