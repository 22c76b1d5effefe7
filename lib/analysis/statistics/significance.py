"""Tests of win rates, correction for multiple tests, and the number of prompts for a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

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
    """Holm's adjusted p-values, in the given order: below alpha is significant in the family."""
    if not len(p_values):
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def prompts_needed(win_rate: float, power: float = 0.8, alpha: float = 0.05,
                   tie_share: float = 0.0) -> int | None:
    """Prompts that a two-sided test needs to find `win_rate` unequal to one half (normal approx.).

    Ties reduce the variance, so a known tie share lowers the number. None for a win rate of exactly
    one half, which no number of prompts can settle. Raises ValueError for shares outside [0, 1].
    """
    if not 0 <= win_rate <= 1 or not 0 <= tie_share <= 1:
        raise ValueError(f"win_rate {win_rate} and tie_share {tie_share} must lie in 0 to 1")
    if win_rate == 0.5:
        return None
    null = sqrt(max((1 - tie_share) / 4, 0))
    alternative = sqrt(max(win_rate * (1 - win_rate) - tie_share / 4, 0))
    return max(1, ceil(normal_sample_size_one_tail(
        abs(win_rate - 0.5), power, alpha / 2, std_null=null, std_alternative=alternative)))
