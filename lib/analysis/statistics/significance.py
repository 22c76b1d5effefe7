"""Tests of win rates, the smallest effect that they see, and correction for multiple tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, binomtest, t
from statsmodels.stats import contingency_tables

from lib.analysis.statistics.clusters import (
    clustered_mean_interval,
    clustered_share_interval,
    effective_number,
)

LEVEL, POWER = 0.05, 0.8  # two-sided level of a test, and its power at the smallest effect


class MeanTest(NamedTuple):
    """A mean's 95 % interval and two-sided p-value, and what this many prompts can tell.

    smallest_effect: the distance from the hypothesis that a test at .05 finds with power .8 (None
    for one prompt). equivalent_within: the smallest margin within which two one-sided tests at .05
    place the mean (Schuirmann 1987), so that a null result says how large an effect it leaves.
    """

    ci_low: float
    ci_high: float
    p_value: float
    smallest_effect: float | None
    equivalent_within: float


@dataclass(frozen=True)
class McNemar:
    """Two systems against one opponent: b prompts on which the first did better, c the second."""

    b: int
    c: int
    exact_p: float
    mid_p: float
    chi2: float
    chi2_p: float
    corrected_chi2: float
    corrected_p: float


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of wins against losses at odds of one to one; ties are dropped."""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def mcnemar(b: int, c: int) -> McNemar:
    """McNemar's test on the discordant prompts b and c: exact, mid-p, chi-squared with and without
    continuity correction. The mid-p is the one to quote (Fagerland et al. 2013).
    """
    if b + c == 0:
        return McNemar(b, c, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    table = [[0, b], [c, 0]]
    exact = float(contingency_tables.mcnemar(table, exact=True).pvalue)
    plain = contingency_tables.mcnemar(table, exact=False, correction=False)
    corrected = contingency_tables.mcnemar(table, exact=False, correction=True)
    mid_p = 2 * binom.cdf(min(b, c), b + c, 0.5) - binom.pmf(min(b, c), b + c, 0.5)
    return McNemar(b, c, exact, float(mid_p), float(plain.statistic), float(plain.pvalue),
                   float(corrected.statistic), float(corrected.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: below alpha is significant in the family.

    The k-th smallest of m counts m - k + 1 times, at least as much as those before it (Holm 1979).
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def share_test(shares: ArrayLike, clusters: ArrayLike | None = None) -> MeanTest:
    """Is the mean of values in 0 to 1, one a prompt, one half? [prompts], none missing.

    clusters: the prompt of each value, where a prompt has several. The p-value is that at which
    `clustered_share_interval` ends at one half: a t test whose spread is scaled to that of a mean
    of one half. Raises ValueError without a value.
    """
    mean, number, freedom = effective_number(shares, clusters)
    error = 0.5 / np.sqrt(number)
    ends = clustered_share_interval(shares, clusters, confidence=1 - 2 * LEVEL)
    return MeanTest(*clustered_share_interval(shares, clusters),
                    *_verdicts(mean - 0.5, error, freedom), max(abs(end - 0.5) for end in ends))


def mean_test(values: ArrayLike) -> MeanTest:
    """Is the mean of the values, one a prompt, zero? A t test; [prompts], none missing."""
    values = np.asarray(values, dtype=float)
    freedom = len(values) - 1
    error = values.std(ddof=1) / np.sqrt(len(values)) if freedom else 0.0
    ends = clustered_mean_interval(values, confidence=1 - 2 * LEVEL)
    return MeanTest(*clustered_mean_interval(values), *_verdicts(values.mean(), error, freedom),
                max(map(abs, ends)))


def _verdicts(distance: float, error: float, freedom: int) -> tuple[float, float | None]:
    """The p-value of a distance from the hypothesis, and the smallest distance that is seen."""
    if not freedom:
        return 1.0, None
    if not error:
        return float(distance == 0), 0.0
    reach = t.ppf(1 - LEVEL / 2, freedom) + t.ppf(POWER, freedom)
    return float(2 * t.sf(abs(distance) / error, freedom)), float(reach * error)
