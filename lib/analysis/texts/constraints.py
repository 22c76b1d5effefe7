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

PROBE = "One short sentence."  # an answer that reaches every checker


@dataclass(frozen=True)
class Check:
    """Whether one answer meets each constraint of its prompt, in their order.

    None: it cannot be checked on this machine, which lacks the checker's data.
    """

    id: str
    instructions: tuple[str, ...]
    strict: tuple[bool | None, ...]
    loose: tuple[bool | None, ...]


def check_constraints(answer: str, heldout_row: Row) -> Check:
    """Check one answer against the constraints of its held-out row; an empty answer fails them all.

    Raises ValueError for a constraint that the checker does not know, or not with these kwargs.
    """
    instructions, kwargs = heldout_row["instruction_id_list"], heldout_row["kwargs"]
    unknown = [name for name in instructions if name not in INSTRUCTION_DICT]
    if unknown or len(kwargs) != len(instructions):
        raise ValueError(f"{heldout_row['id']}: constraint {', '.join(unknown) or 'list'} is not "
                         "one of IFEval's with one kwargs object each; correct the held-out row")
    for name, given in zip(instructions, kwargs, strict=True):
        _refuse_guesses(name, given, heldout_row)
    found = [_met(answer, name, given, heldout_row)
             for name, given in zip(instructions, kwargs, strict=True)]
    return Check(heldout_row["id"], tuple(instructions), *(
        tuple(flags[mode] for flags in found) for mode in (0, 1)))


def _refuse_guesses(name: str, kwargs: Row, heldout_row: Row) -> None:
    """Raises ValueError for a missing value, in whose place the checker draws a random one."""
    needed = INSTRUCTION_DICT[name](name).get_instruction_args_keys()
    if missing := [key for key in needed if kwargs.get(key) is None]:
        raise ValueError(f"{heldout_row['id']}: constraint {name} cannot be checked without "
                         f"{' and '.join(missing)} in its kwargs; correct the held-out row")


def _met(answer: str, name: str, kwargs: Row, heldout_row: Row) -> tuple[bool | None, bool | None]:
    """Strictly and loosely met; None for both where the checker's data are not on this machine."""
    try:
        results, _ = evaluate_instructions(answer, [name], [kwargs], heldout_row["prompt"],
                                           INSTRUCTION_DICT)
    except Exception as error:  # another package's checks, on kwargs from a file
        if type(error) is LookupError or isinstance(error, OSError | ImportError):  # as nltk does
            return None, None
        raise ValueError(f"{heldout_row['id']}: constraint {name} cannot be checked with kwargs "
                         f"{kwargs} ({error}); correct the held-out row") from error
    if not results:  # for an empty answer
        return False, False
    return bool(results[0].strict_pass), bool(results[0].loose_pass)


def unchecked_constraints(heldout_rows: Sequence[Row]) -> list[str]:
    """The names of the rows' constraints that cannot be checked on this machine.

    Raises ValueError for a row whose constraints the checker does not know: call it before answers
    are sampled.
    """
    checks = [check_constraints(PROBE, row) for row in heldout_rows
              if row.get("instruction_id_list")]
    return sorted({name for check in checks
                   for name, met in zip(check.instructions, check.strict, strict=True)
                   if met is None})


def constraint_checks(rows: Sequence[Row], heldout_rows: Sequence[Row]) -> list[Check]:
    """Checks of a system's chosen answers to the prompts with constraints."""
    answers = {row["id"]: chosen(row)["text"] for row in answered(rows)}
    return [check_constraints(answers[row["id"]], row) for row in heldout_rows
            if row.get("instruction_id_list") and row["id"] in answers]


def constraint_accuracy(rows: Sequence[Row], heldout_rows: Sequence[Row]) -> list[Row]:
    """Accuracy of one system: strict and loose, by prompt (all constraints) and by instruction.

    Four rows {"level", "mode", "n", "passed", "accuracy", "ci_low", "ci_high", "missing"}; by
    instruction the interval counts prompts, because instructions of one prompt are correlated. A
    constraint that cannot be checked here is missing, and so is its prompt; without any other the
    accuracy is None. Empty when no answered prompt has a constraint.
    """
    checks = constraint_checks(rows, heldout_rows)
    table: list[Row] = []
    for mode in ("strict", "loose") if checks else ():
        found = [getattr(check, mode) for check in checks]
        whole = [all(flags) for flags in found if None not in flags]
        kept = [(place, flag) for place, flags in enumerate(found)
                for flag in flags if flag is not None]
        prompts, each = [place for place, _ in kept], [flag for _, flag in kept]
        table += [
            _accuracy("prompt", mode, whole, len(found),
                      wilson_interval(sum(whole), len(whole)) if whole else None),
            _accuracy("instruction", mode, each, sum(map(len, found)),
                      clustered_share_interval(each, prompts) if each else None)]
    return table


def constraint_accuracy_by_system(systems: Mapping[str, Sequence[Row]],
                                  heldout_rows: Sequence[Row]) -> list[Row]:
    """The rows of `constraint_accuracy` of all systems, each with its `system`."""
    return [{"system": name} | row for name, rows in systems.items()
            for row in constraint_accuracy(rows, heldout_rows)]


def _accuracy(level: str, mode: str, flags: Sequence[bool], asked: int,
              ends: Interval | None) -> Row:
    return {"level": level, "mode": mode, "n": len(flags), "passed": sum(flags),
            "accuracy": sum(flags) / len(flags) if flags else None,
            "ci_low": ends and ends.low, "ci_high": ends and ends.high,
            "missing": asked - len(flags)}
