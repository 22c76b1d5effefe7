"""Tests of win rates, correction for many of them, and the number of prompts that settles one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy.stats import binom, binomtest
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail


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
    """Holm's adjusted p-values, in the order given: below alpha means significant in the family."""
    if not len(p_values):
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def prompts_needed(win_rate: float, power: float = 0.8, alpha: float = 0.05,
                   tie_share: float = 0.0) -> int | None:
    """Prompts that a two-sided test needs to tell `win_rate` from one half (normal approximation).

    Ties carry no noise, so a known tie share lowers the number. None for a win rate of exactly one
    half, which no number of prompts can settle. Raises ValueError for shares outside [0, 1].
    """
    if not 0 <= win_rate <= 1 or not 0 <= tie_share <= 1:
        raise ValueError(f"win_rate {win_rate} and tie_share {tie_share} must lie in 0 to 1")
    if win_rate == 0.5:
        return None
    null = sqrt(max((1 - tie_share) / 4, 0))
    alternative = sqrt(max(win_rate * (1 - win_rate) - tie_share / 4, 0))
    return max(1, ceil(normal_sample_size_one_tail(
        abs(win_rate - 0.5), power, alpha / 2, std_null=null, std_alternative=alternative)))


def exact_power(n: int, win_rate: float, alpha: float = 0.05) -> float:
    """Chance that the exact two-sided sign test on n prompts without ties finds `win_rate`."""
    critical = critical_wins(n, alpha)
    return float(binom.sf(critical - 1, n, win_rate) + binom.cdf(n - critical, n, win_rate))


def critical_wins(n: int, alpha: float = 0.05) -> int:
    """Fewest wins of n that the exact two-sided sign test calls significant (n + 1 if none)."""
    return int(binom.isf(alpha / 2, n, 0.5)) + 1


def exact_prompts_needed(win_rate: float, power: float = 0.8, alpha: float = 0.05,
                         at_most: int = 2000) -> tuple[int, int]:
    """First n whose exact power reaches `power`, and the n from which it stays there (saw-tooth).

    Raises ValueError when `at_most` prompts do not suffice.
    """
    powers = np.array([exact_power(n, win_rate, alpha) for n in range(1, at_most + 1)])
    short = np.flatnonzero(powers < power) + 1
    if powers[-1] < power:
        raise ValueError(f"{at_most} prompts do not reach power {power} at a win rate of "
                         f"{win_rate}; raise at_most")
    first = int(np.argmax(powers >= power)) + 1
    return first, int(short[-1]) + 1 if len(short) else 1
