"""Verifiable constraints: accuracy that does not depend on a judge.

Held-out rows may have `instruction_id_list` and `kwargs` in IFEval's schema (Zhou et al. 2023,
arXiv 2311.07911): no commas, six bullets, under fifty words. The checks are Google's own code as
packaged by if-verifiable; the constraints used here need no download. *Strict* checks the answer
unchanged; *loose* also without its first or last line and without asterisks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from if_verifiable.common import evaluate_instructions
from if_verifiable.ifeval import INSTRUCTION_DICT

from lib.analysis.comparisons.scoreboard import answered, chosen
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.intervals import Interval, wilson_interval
from lib.runtime.files import Row


@dataclass(frozen=True)
class Check:
    """Whether one answer meets each constraint of its prompt, in their order."""

    id: str
    instructions: tuple[str, ...]
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def check_constraints(answer: str, heldout_row: Row) -> Check:
    """Check one answer against the constraints of its held-out row; an empty answer fails them all.

    Raises ValueError for a constraint that the checker does not know.
    """
    instructions, kwargs = heldout_row["instruction_id_list"], heldout_row["kwargs"]
    unknown = [name for name in instructions if name not in INSTRUCTION_DICT]
    if unknown or len(kwargs) != len(instructions):
        raise ValueError(f"{heldout_row['id']}: constraint {', '.join(unknown) or 'list'} is not "
                         "one of IFEval's with one kwargs object each; correct the held-out row")
    results, _ = evaluate_instructions(answer, instructions, kwargs, heldout_row["prompt"],
                                       INSTRUCTION_DICT)
    failed = (False,) * len(instructions)  # the checker returns nothing for an empty answer
    return Check(heldout_row["id"], tuple(instructions),
                 tuple(bool(result.strict_pass) for result in results) or failed,
                 tuple(bool(result.loose_pass) for result in results) or failed)


def constraint_checks(rows: Sequence[Row], heldout_rows: Sequence[Row]) -> list[Check]:
    """Checks of a system's chosen answers to the prompts with constraints."""
    answers = {row["id"]: chosen(row)["text"] for row in answered(rows)}
    return [check_constraints(answers[row["id"]], row) for row in heldout_rows
            if row.get("instruction_id_list") and row["id"] in answers]


def constraint_accuracy(rows: Sequence[Row], heldout_rows: Sequence[Row]) -> list[Row]:
    """Accuracy of one system: strict and loose, by prompt (all constraints) and by instruction.

    Four rows {"level", "mode", "n", "passed", "accuracy", "ci_low", "ci_high"}; by instruction the
    interval counts prompts, because instructions of one prompt are correlated. Empty when no
    answered prompt has a constraint.
    """
    checks = constraint_checks(rows, heldout_rows)
    table: list[Row] = []
    for mode in ("strict", "loose") if checks else ():
        kept = [getattr(check, mode) for check in checks]
        prompts = [place for place, flags in enumerate(kept) for _ in flags]
        whole, each = [all(flags) for flags in kept], [flag for flags in kept for flag in flags]
        table += [_accuracy("prompt", mode, whole, wilson_interval(sum(whole), len(whole))),
                  _accuracy("instruction", mode, each, clustered_share_interval(each, prompts))]
    return table


def constraint_accuracy_by_system(systems: Mapping[str, Sequence[Row]],
                                  heldout_rows: Sequence[Row]) -> list[Row]:
    """The rows of `constraint_accuracy` of all systems, each with its `system`."""
    return [{"system": name} | row for name, rows in systems.items()
            for row in constraint_accuracy(rows, heldout_rows)]


def _accuracy(level: str, mode: str, flags: Sequence[bool], ends: Interval) -> Row:
    return {"level": level, "mode": mode, "n": len(flags), "passed": sum(flags),
            "accuracy": sum(flags) / len(flags), "ci_low": ends.low, "ci_high": ends.high}
