"""The win rate that selection alone gives: the baseline that Best-of-N has to beat.

When the reward model that picks the best of n also judges, n draws already win n / (n + 1) of the
comparisons with another draw of the *same* policy, whatever the model measures, even noise; against
a draw that is itself one of the n, 1 - 1 / (2 n). These functions give the baseline for any
correlation between the selecting and the judging score.
"""

from functools import cache
from math import pi, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from lib.analysis.statistics.outcomes import Floats

NODES = 200  # quadrature points of a smooth integrand: twelve digits
POOL_NODES = 60  # points a dimension where it is steep at the edges: five digits
EDGE = 12.0  # standard deviations beyond which a normal has no weight
GRID = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 81))  # correlations, closer where it is steep


def selection_win_rate(n: int, correlation: ArrayLike = 1.0,
                       single: ArrayLike = 0.5) -> float | Floats:
    """Win rate that selection alone predicts, with normal scores within a prompt.

    correlation: between the selecting and the judging score; single: win rate of one draw against
    the opponent. E[Phi((correlation * M_n + delta) / sqrt(2 - correlation^2))], M_n = the largest
    of n standard normals. Elementwise over arrays. A baseline, not a test: the scores of real
    prompts differ in spread.
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


def same_pool_win_rates(n: int, correlations: ArrayLike) -> Floats:
    """`same_pool_win_rate` of many correlations at once, interpolated between 81 of them."""
    return np.interp(correlations, GRID, _same_pool_line(n))


@cache
def _same_pool_line(n: int) -> Floats:
    return np.array([same_pool_win_rate(n, correlation) for correlation in GRID])


def within_prompt_products(first: ArrayLike, second: ArrayLike) -> Floats:
    """Sums of the products ab, aa and bb within each prompt, [prompts, 3], for `correlation_of`.

    first, second: two scores of the same candidates, [prompts, candidates], centred on each
    prompt's mean. A candidate with a NaN counts for neither; a prompt without candidates is NaN.
    """
    a, b = np.array(first, dtype=float), np.array(second, dtype=float)
    missing = np.isnan(a) | np.isnan(b)
    counts = (~missing).sum(axis=1, keepdims=True)
    for scores in (a, b):
        scores[missing] = 0
        scores -= scores.sum(axis=1, keepdims=True) / np.maximum(counts, 1)
        scores[missing] = 0
    products = np.stack([(a * b).sum(axis=1), (a * a).sum(axis=1), (b * b).sum(axis=1)], axis=1)
    return np.where(counts > 0, products, np.nan)


def correlation_of(products: ArrayLike) -> Floats:
    """Correlation from sums (or means) of ab, aa and bb, [..., 3]; NaN where one is constant."""
    ab, aa, bb = np.moveaxis(np.asarray(products, dtype=float), -1, 0)
    scale = np.sqrt(aa * bb)
    return np.clip(np.divide(ab, scale, out=np.full_like(scale, np.nan), where=scale > 0), -1, 1)


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; best-of-n needs at least one candidate")
