"""What the best of n wins by a second score that is correlated with the selecting one.

Arithmetic of normal scores, and no test: what made the correlation does not enter. A selector and a
judge that both see quality and two that share an error have one joint law, so that a rate as high
as this one says nothing of quality. Only a score that comes from outside of both, a reader's, does:
`lib.analysis.best_of_n.reader_forecast`.
"""

from math import pi, sqrt
from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from lib.analysis.statistics.outcomes import Floats

NODES = 200  # quadrature points of a smooth integrand: twelve digits
POOL_NODES = 60  # points a dimension where it is steep at the edges: five digits
EDGE = 12.0  # standard deviations beyond which a normal has no weight


@overload
def selection_win_rate(n: int, correlation: float = 1.0, single: float = 0.5) -> float: ...


@overload
def selection_win_rate(n: int, correlation: Floats, single: float = 0.5) -> Floats: ...


def selection_win_rate(n: int, correlation: ArrayLike = 1.0,
                       single: ArrayLike = 0.5) -> float | Floats:
    """Win rate of the best of n over another draw, with normal scores within a prompt.

    correlation: between the selecting and the judging score; 1, where the selector judges, gives
    n / (n + 1). single: win rate of one draw against the opponent.
    E[Phi((correlation * M_n + delta) / sqrt(2 - correlation^2))], M_n = the largest of n standard
    normals. Elementwise over arrays.
    """
    _check_n(n)
    correlation, single = np.broadcast_arrays(np.asarray(correlation, float),
                                              np.asarray(single, float))
    if np.any(np.abs(correlation) > 1) or np.any((single <= 0) | (single >= 1)):
        raise ValueError(f"correlation {correlation} must lie in -1 to 1 and single {single} "
                         "strictly between 0 and 1")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    largest = EDGE * nodes
    density = n * np.exp(-largest**2 / 2) / sqrt(2 * pi) * ndtr(largest) ** (n - 1) * EDGE * weights
    ahead = correlation[..., None] * largest + sqrt(2) * ndtri(single)[..., None]
    rate = ndtr(ahead / np.sqrt(2 - correlation**2)[..., None]) @ density
    return rate if rate.ndim else float(rate)


def same_pool_win_rate(n: int, correlation: float = 1.0) -> float:
    """Win rate of the best of n over a random one of the same n; once in n they are one (a tie).

    1 - 1 / (2 n) if the selector judges, 0.5 if the judge's score is uncorrelated.
    """
    _check_n(n)
    if abs(correlation) >= 1:  # at -1 the pick is the worst of its pool
        return 1 - 1 / (2 * n) if correlation > 0 else 1 / (2 * n)
    nodes, weights = np.polynomial.legendre.leggauss(POOL_NODES)
    uniform, weights = (nodes + 1) / 2, weights / 2
    best = uniform ** (1 / n)  # quantile of the largest of n; the others lie below it
    gap = ndtri(best)[:, None] - ndtri(uniform[None, :] * best[:, None])
    chance = ndtr(correlation * gap / sqrt(2 * (1 - correlation**2)))
    return float(0.5 / n + (n - 1) / n * (weights @ chance @ weights))


def correlation_at(agreement: ArrayLike) -> Floats:
    """The correlation at which normal scores order this share of pairs alike: sin(pi (a - 1/2)).

    agreement: with half a pair for a tie, as a win rate counts it. Where many scores tie at a floor
    this correlation forecasts the win rate to within .01, and Pearson's errs by up to .03.
    """
    return np.sin(np.pi * (np.asarray(agreement, float) - 0.5))


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; best-of-n needs at least one candidate")
