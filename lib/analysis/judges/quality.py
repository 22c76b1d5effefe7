"""Quality of a judge: accuracy on pairs of known order, agreement, preference for length.

In: score differences of pairs, or a scoreboard of several judges. Out: rows with n and interval.
"""

from collections.abc import Iterable
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


def pair_accuracy(differences: ArrayLike, prompts: ArrayLike | None = None) -> Row:
    """Share of pairs that a judge orders correctly; differences are score(better) - score(worse).

    `outcomes.compare_gaps` decides: an equal score is half right, NaN is missing. With `prompts`
    (one a pair) the interval counts prompts, because pairs of one prompt are correlated. Raises
    ValueError when no pair is left.
    """
    gaps = np.asarray(differences, dtype=float)
    kept, right = ~np.isnan(gaps), compare_gaps(gaps)
    if not kept.any():
        raise ValueError("no pair has both scores; an accuracy needs at least one")
    right = right[kept]
    low, high = mean_interval(right) if prompts is None else \
        clustered_share_interval(right, np.asarray(prompts)[kept])
    return {"n": int(kept.sum()), "missing": int((~kept).sum()), "accuracy": float(right.mean()),
            "ci_low": low, "ci_high": high}


def length_preference(score_differences: ArrayLike, length_differences: ArrayLike,
                      prompts: ArrayLike | None = None) -> Row:
    """Share of pairs in which the judge prefers the longer answer; 0.5 is no preference.

    Pairs of equal length are left out. Differences are first - second, [pairs]; `prompts` as in
    `pair_accuracy`.
    """
    lengths = np.asarray(length_differences, dtype=float)
    scores = np.asarray(score_differences, dtype=float) * np.sign(lengths)
    row = pair_accuracy(np.where(lengths == 0, np.nan, scores), prompts)
    return {"n": row["n"], "prefers_longer": row["accuracy"], "ci_low": row["ci_low"],
            "ci_high": row["ci_high"]}


def judge_agreement(board: Scoreboard, pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """Agreement, kappa and AC1 of each two judges on win, tie or loss of each pair of systems.

    `Scoreboard.outcomes` decides each comparison: equal texts tie, otherwise the scores count.
    """
    return [{"judge_a": one, "judge_b": other, "a": a, "b": b}
            | agreement(outcome_labels(board, one, a, b), outcome_labels(board, other, a, b))
            for one, other in combinations(board.judges, 2) for a, b in pairs]


def outcome_labels(board: Scoreboard, judge: str, a: str, b: str) -> list[str | None]:
    """Who wins each prompt by a judge: "a", "tie", "b", or None without both scores."""
    return [LABELS.get(float(outcome)) for outcome in board.outcomes(judge, a, b)]
