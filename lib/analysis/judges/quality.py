"""How good a judge is: right on pairs of known order, at one with other judges, fair to length.

In: score differences of pairs, or response rows scored by several judges. Out: plain rows with n
and an interval.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.intervals import mean_interval

Row = dict[str, Any]
LABELS = {1.0: "a", 0.5: "tie", 0.0: "b"}


def pair_accuracy(differences: ArrayLike, prompts: ArrayLike | None = None,
                  confidence: float = 0.95) -> Row:
    """Share of pairs that a judge orders rightly; differences are score(better) - score(worse).

    Equal scores count half, NaN is missing. With `prompts` (one a pair) the interval is that of
    clusters, since pairs of one prompt hang together. Raises ValueError when no pair is left.
    """
    gaps = np.asarray(differences, dtype=float)
    kept = ~np.isnan(gaps)
    if not kept.any():
        raise ValueError("no pair has both scores; an accuracy needs at least one")
    right = (np.sign(gaps[kept]) + 1) / 2
    low, high = mean_interval(right, confidence) if prompts is None else \
        clustered_share_interval(right, np.asarray(prompts)[kept], confidence)
    return {"n": int(kept.sum()), "missing": int((~kept).sum()), "accuracy": float(right.mean()),
            "ci_low": low, "ci_high": high}


def length_preference(score_differences: ArrayLike, length_differences: ArrayLike,
                      prompts: ArrayLike | None = None, confidence: float = 0.95) -> Row:
    """Share of pairs in which the judge prefers the longer answer; 0.5 is no taste for length.

    Pairs of equal length are left out. Differences are first - second, [pairs]; `prompts` is that
    of `pair_accuracy`.
    """
    lengths = np.asarray(length_differences, dtype=float)
    scores = np.asarray(score_differences, dtype=float) * np.sign(lengths)
    row = pair_accuracy(np.where(lengths == 0, np.nan, scores), prompts, confidence)
    return {"n": row["n"], "prefers_longer": row["accuracy"], "ci_low": row["ci_low"],
            "ci_high": row["ci_high"]}


def judge_agreement(board: Scoreboard, pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """Agreement, kappa and AC1 of each two judges on win, tie or loss of each pair of systems.

    kappa is None where both judges always say the same one thing.
    """
    return [{"judge_a": one, "judge_b": other, "a": a, "b": b}
            | agreement_row(verdicts(board, one, a, b), verdicts(board, other, a, b))
            for one, other in combinations(board.judges, 2) for a, b in pairs]


def verdicts(board: Scoreboard, judge: str, a: str, b: str) -> list[str | None]:
    """A judge's verdict a prompt: "a", "tie", "b", or None where it could not score."""
    return [LABELS.get(float(outcome)) for outcome in board.outcomes(judge, a, b)]


def agreement_row(first: Sequence[str | None], second: Sequence[str | None]) -> Row:
    """`agreement.agreement` as a plain row; an undefined kappa is None."""
    found = agreement(first, second)
    return {"n": found.n, "missing": found.missing, "agreement": found.agreement,
            "kappa": None if np.isnan(found.kappa) else found.kappa, "ac1": found.ac1}
