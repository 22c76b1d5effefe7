"""Confidence intervals for shares and win rates.

A win rate counts a tie as half a win, so its variance is smaller than a share's and Wilson's
interval is exact only without ties. The study reports `score_interval`: Tango's (1998) score
interval for (wins - losses) / n, mapped to the win rate. Without ties it equals Wilson's; with ties
it keeps its nominal coverage, where Wilson's is too wide and a percentile bootstrap too narrow (at
n = 50 and a rate of .935 the bootstrap covers the truth in 84 to 88 % of cases, not in 95 %).
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import elementwise
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from lib.analysis.statistics.outcomes import Floats

OFFSET = 1e-13  # start just off the estimate: with identical outcomes the score is 0 there


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def wilson_interval(wins: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval for wins / n; for ties pass wins + ties / 2, which makes it conservative.

    Raises ValueError for n < 1 or wins outside 0..n. Wilson 1927; `score_interval` handles ties.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an interval needs at least one compared prompt")
    if not 0 <= wins <= n:
        raise ValueError(f"wins is {wins}, expected 0 to n = {n}")
    low, high = proportion_confint(wins, n, 1 - confidence, method="wilson")
    return Interval(min(float(low), wins / n), max(float(high), wins / n))  # rounding at 0 and 1


def mean_interval(outcomes: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval for the mean of outcomes that are 1 (win), 0.5 (tie) or 0 (loss), shape [prompts].

    A missing outcome (NaN) is left out. Raises ValueError for any other value; for averages over
    seeds or samples use `lib.analysis.statistics.clusters`.
    """
    values = np.asarray(outcomes, dtype=float)
    values = values[~np.isnan(values)]
    strange = values[~np.isin(values, (0.0, 0.5, 1.0))]
    if strange.size:
        raise ValueError(f"outcome {strange[0]} is neither 1, 0.5 nor 0; "
                         "use clustered_share_interval for averaged outcomes")
    wins, ties = int(np.sum(values == 1)), int(np.sum(values == 0.5))
    low, high = score_interval(wins, ties, len(values) - wins - ties, confidence)
    return Interval(float(low), float(high))


def score_interval(wins: ArrayLike, ties: ArrayLike, losses: ArrayLike,
                   confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Tango's score interval for the win rate (wins + ties / 2) / n, elementwise over arrays.

    It inverts the score test of each hypothetical rate with the ties at their most likely share
    under it (Tango 1998, Statistics in Medicine 17:891). Raises ValueError where n is 0.
    """
    won, tied, lost = np.broadcast_arrays(*(np.asarray(count, float)
                                            for count in (wins, ties, losses)))
    n = won + tied + lost
    if np.any(n < 1):
        raise ValueError("no compared prompt is left; an interval needs at least one")
    z = norm.ppf(0.5 + confidence / 2)
    difference = (won - lost) / n
    low = _root(z, -np.ones_like(n), difference - OFFSET, won, lost, n)
    high = _root(-z, difference + OFFSET, np.ones_like(n), won, lost, n)
    return (1 + low) / 2, (1 + high) / 2


def difference_interval(first: float, first_ends: tuple[float, float], second: float,
                        second_ends: tuple[float, float], correlation: float = 0.0) -> Interval:
    """Interval for first - second from the interval of each (MOVER; Zou & Donner 2008).

    It keeps the asymmetry that an interval has near 0 and 1. correlation: of the two estimates; a
    positive one narrows the interval.
    """
    def reach(ours: float, theirs: float) -> float:
        return sqrt(max(ours**2 + theirs**2 - 2 * correlation * ours * theirs, 0.0))

    difference = first - second
    return Interval(difference - reach(first - first_ends[0], second_ends[1] - second),
                    difference + reach(first_ends[1] - first, second - second_ends[0]))


def _root(z: float, left: Floats, right: Floats, won: Floats, lost: Floats, n: Floats) -> Floats:
    """The difference in [left, right] whose score is z; the outer end without a root."""
    found = elementwise.find_root(_excess, (left, right), args=(won, lost, n, np.asarray(z)))
    return np.where(found.success, found.x, -np.sign(z))


def _excess(difference: Floats, won: Floats, lost: Floats, n: Floats, z: Floats) -> Floats:
    """Score of a hypothetical win-loss difference minus z, times the standard error."""
    linear = (2 * n - won + lost) * difference - won - lost
    constant = -lost * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0))
    loss_share = (root - linear) / (4 * n)  # its maximum-likelihood value under the hypothesis
    variance = n * (2 * loss_share + difference * (1 - difference))
    return won - lost - n * difference - z * np.sqrt(np.maximum(variance, 0))
