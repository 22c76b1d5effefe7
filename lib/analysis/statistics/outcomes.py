"""Who won: the outcome of two scores, and the win rate that averages it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def compare_scores(scores_a: ArrayLike, scores_b: ArrayLike) -> Floats:
    """1 where a scores higher, 0.5 where both score the same, 0 where b does, NaN where one is NaN.

    Scores are compared exactly and within a prompt, so their scale does not matter;
    `comparisons.scoreboard` adds that equal texts tie. Both have one shape [...] (ValueError
    otherwise).
    """
    a, b = np.asarray(scores_a, dtype=float), np.asarray(scores_b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"{a.size} scores against {b.size}; both must be of one prompt set")
    return np.where(np.isnan(a) | np.isnan(b), np.nan, (np.sign(a - b) + 1) / 2)


def compare_gaps(gaps: ArrayLike) -> Floats:
    """`compare_scores` for differences a - b, [...]."""
    return compare_scores(gaps, np.zeros_like(np.asarray(gaps, dtype=float)))


def win_rate(scores_a: ArrayLike, scores_b: ArrayLike) -> float:
    """Share of prompts on which a scores higher than b, a tie counting half; both are [prompts].

    Prompts without both scores are left out. Raises ValueError when none is left.
    """
    outcomes = compare_scores(scores_a, scores_b)
    if np.isnan(outcomes).all():
        raise ValueError("no prompt has both scores; a win rate needs at least one")
    return float(np.nanmean(outcomes))
