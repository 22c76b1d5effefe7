"""The same comparison by several judges: same answers, same prompts, same rule for ties.

Verdicts on different answers differ for two reasons, the judges and the answers; these differ for
one. A reader whose scale has a floor ties often, and ties pull a rate to one half, so that beside
the rate with ties as halves stands that of the prompts which the reader decides.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lib.analysis.comparisons.scoreboard import Scoreboard, scoreboard
from lib.analysis.comparisons.win_rates import Pair
from lib.analysis.statistics.intervals import mean_interval
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.statistics.significance import holm, sign_test
from lib.runtime.files import Row


def same_answers(systems: Mapping[str, Sequence[Row]], judges: Sequence[str], reader: str,
                 pairs: Iterable[Pair]) -> list[Row]:
    """Win rates of each pair by each judge and the reader, on the prompts that all of them scored.

    systems: response rows with the `rewards` of all. Rows {"a", "b", "judge", "n", "ties",
    "win_rate", "ci_low", "ci_high", "p_value" (sign test), "holm_p" (over the pairs of a judge),
    "decided", "decided_rate", "decided_low", "decided_high"}: decided counts the prompts on which
    the reader does not tie. A pair of which a system or every score is missing has no rows.
    """
    rows: list[Row] = []
    for a, b in pairs:
        if a in systems and b in systems and _scored(systems, (a, b), reader):
            board = scoreboard({b: systems[b], a: systems[a]}, [reader, *judges])
            rows += _rows(board, a, b, reader)
    return [row | {"holm_p": p} for judge in dict.fromkeys(row["judge"] for row in rows)
            for row, p in _corrected([row for row in rows if row["judge"] == judge])]


def _corrected(family: Sequence[Row]) -> Iterable[tuple[Row, float]]:
    return zip(family, holm([row["p_value"] for row in family]), strict=True)


def _scored(systems: Mapping[str, Sequence[Row]], pair: Pair, reader: str) -> bool:
    """Whether the reader scored any answer of either system."""
    return any(row["candidates"][row["chosen"]]["rewards"].get(reader) is not None
               for name in pair for row in systems[name])


def _rows(board: Scoreboard, a: str, b: str, reader: str) -> list[Row]:
    outcomes = {judge: board.outcomes(judge, a, b) for judge in board.judges}
    scored = ~np.isnan(list(outcomes.values())).any(axis=0)
    decided = scored & (outcomes[reader] != 0.5)
    if not scored.any():
        return []
    return [{"a": a, "b": b, "judge": judge} | _counts(values[scored]) | _rate(
                values[scored], "win_rate", "ci") | {"decided": int(decided.sum())} | _rate(
                values[decided], "decided_rate", "decided") for judge, values in outcomes.items()]


def _counts(outcomes: Floats) -> Row:
    wins, losses = int(np.sum(outcomes == 1)), int(np.sum(outcomes == 0))
    return {"n": len(outcomes), "ties": len(outcomes) - wins - losses,
            "p_value": sign_test(wins, losses)}


def _rate(outcomes: Floats, name: str, prefix: str) -> Row:
    """The mean with its interval; None for no outcomes."""
    if not len(outcomes):
        return dict.fromkeys((name, f"{prefix}_low", f"{prefix}_high"))
    low, high = mean_interval(outcomes)
    return {name: float(outcomes.mean()), f"{prefix}_low": low, f"{prefix}_high": high}
