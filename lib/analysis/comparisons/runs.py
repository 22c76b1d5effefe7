"""The same systems of two runs, `a` and `b`, on the same prompts: who wins, where, and a gate.

In: each run's candidates, their prompts under common ids. A system of run b is called `b: dpo`. All
answers must have been scored by one judge; see `lib.study.compare.judges`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lib.analysis.comparisons.candidates import SELECTOR, CandidateBoard, Candidates, Matches
from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.statistics.outcomes import Floats
from lib.inference.systems import KL, System
from lib.runtime.files import Row

A, B = "a", "b"
PASSES, UNSURE, LOSES = "passes", "may lose more", "loses more"


def system_of(run: str, name: str) -> str:
    """The name of a run's system among those of both runs: `b: dpo+bon4@0.6`."""
    system = System.parse(name)
    return replace(system, policy=f"{run}: {system.policy}").name


def board_of_runs(boards: Mapping[str, CandidateBoard]) -> CandidateBoard:
    """The pools of all runs on one board; each plain policy stays at its own run's temperature."""
    pools = {}
    for run, board in boards.items():
        for (policy, temperature), candidates in board.pools.items():
            pools[f"{run}: {policy}", temperature] = candidates
            if temperature == board.main:
                pools[f"{run}: {policy}", None] = candidates
    return CandidateBoard(pools, next(iter(boards.values())).judges, None)


def answer_alike(board: CandidateBoard, first: str, second: str) -> bool:
    """Whether two systems draw from the same answers by the same picks: neither can win."""
    system = System.parse(first)
    one, other = (board.pool(System.parse(name)) for name in (first, second))
    return _alike(one, other) and (not system.selects or np.array_equal(
        one.scores[SELECTOR], other.scores[SELECTOR], equal_nan=True)) and (
            system.rule != KL or one.logps is not None and other.logps is not None
            and np.array_equal(one.logps, other.logps, equal_nan=True))


def _alike(one: Candidates, other: Candidates) -> bool:
    return one.prompts == other.prompts and np.array_equal(one.texts, other.texts)


def moved_by_pairs(matches: Matches, judge: str) -> list[Row]:
    """How each prompt moved, over all pairs of answers: see `moved_rows`."""
    first, second = (matches.total(np.broadcast_to(part, matches.weights.shape)) for part in (
        matches.a.scores[judge][:, :, None], matches.b.scores[judge][:, None]))
    return moved_rows(matches.a.prompts, matches.values, first, second)


def moved_by_draws(board: Scoreboard, judge: str, first: str, second: str) -> list[Row]:
    """How each prompt moved, by one answer of each system: see `moved_rows`."""
    scores = board.scores[board.judges.index(judge)]
    return moved_rows(board.prompts, board.outcomes(judge, first, second),
                      scores[board.place(first)], scores[board.place(second)])


def moved_rows(prompts: Sequence[str], values: Floats, first: Floats, second: Floats) -> list[Row]:
    """{"id", "win_rate", "score_a", "score_b", "change"} a judged prompt, the worst for b first.

    values: the win rate of b over a on each prompt; first, second: mean scores of b and of a.
    """
    rows = [{"id": prompt, "win_rate": float(value), "score_a": float(of_a),
             "score_b": float(of_b), "change": float(of_b - of_a)}
            for prompt, value, of_b, of_a in zip(prompts, values, first, second, strict=True)
            if not np.isnan([value, of_a, of_b]).any()]
    return sorted(rows, key=lambda row: (row["change"], row["win_rate"]))


def gated(rows: Sequence[Row], margin: float) -> list[Row]:
    """Win-rate rows of b over a with `verdict`: does b lose by more than `margin`?

    It passes where the interval's lower end is at least one half less the margin. `loses more`: all
    of the interval lies below; `may lose more`: the prompts are too few to tell, and `enough` is
    about how many would do at this rate (None where no number would).
    """
    return [row | {"margin": margin, "verdict": _verdict(row, 0.5 - margin),
                   "enough": _enough(row, 0.5 - margin)} for row in rows]


def _verdict(row: Row, least: float) -> str:
    if not row["n"]:
        return UNSURE
    if row["ci_low"] >= least:
        return PASSES
    return LOSES if row["ci_high"] < least else UNSURE


def _enough(row: Row, least: float) -> int | None:
    """Prompts at which the lower end would reach `least`; its distance falls as 1 / sqrt(n)."""
    room = row["win_rate"] - least if row["n"] else 0
    if room <= 0:
        return None
    return int(np.ceil(row["n"] * max(1.0, (row["win_rate"] - row["ci_low"]) / room) ** 2))
