"""What selection alone does to a win rate: the line that Best-of-N has to beat.

When the reward model that picks the best of n also judges, n draws already win n / (n + 1) of the
comparisons with another draw of the *same* policy, whatever the model measures, even noise; against
a draw that is itself one of the n, 1 - 1 / (2 n). These functions give that line for any
correlation between the picking and the judging score.
"""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.stats import norm

NODES = 400  # quadrature points a dimension: four digits, enough for a reference line


def best_of_n_null(n: int) -> float:
    """Win rate of the best of n over one draw of the same policy by the same score: n / (n + 1)."""
    _check_n(n)
    return n / (n + 1)


def selection_win_rate(n: int, correlation: float = 1.0, single: float = 0.5) -> float:
    """Win rate that selection alone predicts, with normal scores within a prompt.

    correlation: between the selecting and the judging score; single: win rate of one draw against
    the opponent. E[Phi((correlation * M_n + delta) / sqrt(2 - correlation^2))], M_n = the largest
    of n standard normals. A reference line, not a test: real prompts differ in spread.
    """
    _check_n(n)
    if not -1 <= correlation <= 1 or not 0 < single < 1:
        raise ValueError(f"correlation {correlation} must lie in -1 to 1 and single {single} "
                         "strictly between 0 and 1")
    delta = sqrt(2) * norm.ppf(single)
    scale = sqrt(2 - correlation**2)

    def integrand(largest: float) -> float:
        density = n * norm.pdf(largest) * norm.cdf(largest) ** (n - 1)
        return density * norm.cdf((correlation * largest + delta) / scale)

    return float(quad(integrand, -12, 12, epsabs=1e-12, epsrel=1e-12, points=[0.0], limit=200)[0])


def same_pool_win_rate(n: int, correlation: float = 1.0) -> float:
    """Win rate of the best of n over a random one of the same n, which it is once in n (a tie).

    1 - 1 / (2 n) if the selector judges, 0.5 if the judge's score has nothing to do with it.
    """
    _check_n(n)
    if correlation >= 1:
        return 1 - 1 / (2 * n)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    uniform, weights = (nodes + 1) / 2, weights / 2
    best = uniform ** (1 / n)  # quantile of the largest of n; the others lie below it
    gap = norm.ppf(best)[:, None] - norm.ppf(uniform[None, :] * best[:, None])
    chance = norm.cdf(correlation * gap / sqrt(2 * (1 - correlation**2)))
    return float(0.5 / n + (n - 1) / n * (weights @ chance @ weights))


def within_prompt_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Correlation of two scores of the same candidates within prompts, both [prompts, candidates].

    Each prompt's mean is taken out first. None when a score never varies; NaN candidates count for
    neither.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    missing = np.isnan(a) | np.isnan(b)
    kept = ~missing.all(axis=1)
    a, b = (np.where(missing, np.nan, scores)[kept] for scores in (a, b))
    if not len(a):
        return None
    a, b = (scores - np.nanmean(scores, axis=1, keepdims=True) for scores in (a, b))
    scale = sqrt(np.nansum(a * a) * np.nansum(b * b))
    return float(np.nansum(a * b) / scale) if scale > 0 else None


def selection_odds_win_rate(n: int, single: float) -> float:
    """The same line with Gumbel noise instead of normal: the odds of one draw times n."""
    _check_n(n)
    odds = n * single / (1 - single) if single < 1 else np.inf
    return float(odds / (1 + odds)) if np.isfinite(odds) else 1.0


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; best-of-n needs at least one candidate")
