"""How good a judge is: its accuracy on pairs of known order, its agreement, its taste for length.

In: score differences of pairs, or response rows scored by several judges. Out: plain rows with n
and an interval.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.intervals import mean_interval
from lib.analysis.statistics.outcomes import compare_gaps
from lib.runtime.files import Row

LABELS = {1.0: "a", 0.5: "tie", 0.0: "b"}


def pair_accuracy(differences: ArrayLike, prompts: ArrayLike | None = None,
                  confidence: float = 0.95) -> Row:
    """Share of pairs that a judge orders rightly; differences are score(better) - score(worse).

    By the rule of `outcomes.compare_gaps`: scores alone count, an equal score is half right, NaN is
    missing. With `prompts` (one a pair) the interval counts prompts, because pairs of one prompt
    are correlated. Raises ValueError when no pair is left.
    """
    gaps = np.asarray(differences, dtype=float)
    kept, right = ~np.isnan(gaps), compare_gaps(gaps)
    if not kept.any():
        raise ValueError("no pair has both scores; an accuracy needs at least one")
    right = right[kept]
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

    By the rule of `Scoreboard.outcomes`: equal texts tie, otherwise scores decide. kappa is None
    where both judges always give one and the same label.
    """
    return [{"judge_a": one, "judge_b": other, "a": a, "b": b}
            | agreement_row(outcome_labels(board, one, a, b), outcome_labels(board, other, a, b))
            for one, other in combinations(board.judges, 2) for a, b in pairs]


def outcome_labels(board: Scoreboard, judge: str, a: str, b: str) -> list[str | None]:
    """Who wins each prompt by a judge: "a", "tie", "b", or None where it could not score."""
    return [LABELS.get(float(outcome)) for outcome in board.outcomes(judge, a, b)]


def agreement_row(first: Sequence[str | None], second: Sequence[str | None]) -> Row:
    """`agreement.agreement` as a plain row; an undefined kappa is None."""
    found = agreement(first, second)
    return {"n": found.n, "missing": found.missing, "agreement": found.agreement,
            "kappa": None if np.isnan(found.kappa) else found.kappa, "ac1": found.ac1}
