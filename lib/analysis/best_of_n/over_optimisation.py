"""Over-optimisation: how a judge's gain bends as the selector picks from more and more answers.

Gao et al. 2022 (sec. 1): R(d) = d (alpha - beta d) with d = sqrt(KL), R the gain over one draw. In:
long pools, as `lib.study.stages.deep_pools` samples them. The KL is that of the picks from the
pool's own answers, equal scores as one outcome; the bound log n - (n-1)/n stands beside it. A peak
d = alpha / (2 beta) is reported only where it lies inside the measured range.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.best_of_n.curves import SELECTOR, Pools, gain_curves, pool_scores
from lib.analysis.statistics.bootstrap import bootstrap_means
from lib.analysis.statistics.outcomes import Floats
from lib.inference.best_of_n import exact_kl, kl_bound
from lib.runtime.files import Row

FEWEST_POINTS = 4  # n = 1, 2, 4, 8: two coefficients and one point to spare
ENDS = (2.5, 97.5)  # percentiles over resamples


class Fit(NamedTuple):
    """Coefficients of R(d) = d (alpha - beta d), floats or arrays over resamples."""

    alpha: Floats
    beta: Floats

    def gain(self, distance: ArrayLike) -> Floats:
        """The fitted gain at d = sqrt(KL)."""
        return np.multiply(distance, self.alpha - np.multiply(self.beta, distance))

    @property
    def peak(self) -> Floats:
        """d of the highest gain; infinite where the curve never turns down."""
        turns = np.asarray(self.beta) > 0
        return np.where(turns, self.alpha / np.where(turns, 2 * self.beta, 1), np.inf)


def fit_gains(distance: ArrayLike, gain: ArrayLike) -> Fit:
    """Least squares through the origin; distance sqrt(KL) and gain are [..., points].

    NaN where fewer than two distances differ from 0 and from each other.
    """
    d, gain = np.asarray(distance, float), np.asarray(gain, float)
    square, cube, fourth = ((d**power).sum(-1) for power in (2, 3, 4))
    first, second = (d * gain).sum(-1), (d**2 * gain).sum(-1)
    determinant = square * fourth - cube**2
    determinant = np.where(determinant > 1e-12 * square * fourth, determinant, np.nan)
    return Fit((first * fourth - second * cube) / determinant,
               (first * cube - second * square) / determinant)


def over_optimisation_rows(pools: Pools, judges: Sequence[str], most: int, resamples: int = 10_000,
                           seed: int = 0) -> list[Row]:
    """The fit of each pool's gain curve by each judge, at n = 1, 2, 4, ... up to `most`.

    Rows {"policy", "temperature", "judge", "prompts", "left_out", "candidates", "alpha",
    "alpha_low", "alpha_high", "beta", "beta_low", "beta_high", "peak_distance", "peak_gain",
    "peak_inside", "points"}. Gains are in standard deviations of the judge's scores within a
    prompt; intervals are percentiles over resampled prompts. The peak is null where it lies outside
    the measured range; peak_inside is the share of resamples that have it inside. points: {"n",
    "kl", "kl_bound", "distance", "value", "ci_low", "ci_high"}. A pool with fewer than four such n,
    fewer than two scored prompts, or scores without spread has no row.
    """
    sizes = [2**power for power in range(most.bit_length()) if 2**power <= most]
    if len(sizes) < FEWEST_POINTS:
        return []
    return [row for key, pool in pools.items() for judge in judges
            if (row := _row(key, pool, judge, sizes, resamples, seed))]


def _row(key: tuple[str, float], pool: Sequence[Row], judge: str, sizes: Sequence[int],
         resamples: int, seed: int) -> Row | None:
    proxy, gold = (pool_scores(pool, name) for name in (SELECTOR, judge))
    kept = ~(np.isnan(proxy) | np.isnan(gold)).any(1)
    gains = gain_curves(proxy[kept], gold[kept])
    if len(gains) < 2 or not np.ptp(proxy[kept], axis=1).any():
        return None
    gains = gains[:, [n - 1 for n in sizes]]
    divergence = np.array([[_kl_of_picks(scores, n) for n in sizes] for scores in proxy[kept]])
    policy, temperature = key
    return {"policy": policy, "temperature": temperature, "judge": judge, "prompts": len(gains),
            "left_out": len(pool) - len(gains), "candidates": proxy.shape[1]} \
        | _fitted(sizes, gains, divergence, resamples, seed)


def _fitted(sizes: Sequence[int], gains: Floats, divergence: Floats, resamples: int,
            seed: int) -> Row:
    """The fit and its points from gains and KL, [prompts, points] each."""
    means = bootstrap_means(np.hstack([divergence, gains]), resamples, seed, dtype=np.float64)
    again = np.split(means, 2, axis=1)  # KL and gain, [resamples, points] each
    kl, value = divergence.mean(0), gains.mean(0)
    fit, fits = fit_gains(np.sqrt(kl), value), fit_gains(np.sqrt(again[0]), again[1])
    peak, inside = float(fit.peak), _inside(fits.peak, np.sqrt(again[0][:, -1]))
    found = bool(_inside(fit.peak, np.sqrt(kl[-1])))
    low, high = np.percentile(again[1], ENDS, axis=0)
    points = [{"n": n, "kl": float(kl[k]), "kl_bound": kl_bound(n),
               "distance": float(np.sqrt(kl[k])), "value": float(value[k]),
               "ci_low": float(low[k]), "ci_high": float(high[k])} for k, n in enumerate(sizes)]
    return _with_ends("alpha", fit.alpha, fits.alpha) | _with_ends("beta", fit.beta, fits.beta) | {
        "peak_distance": peak if found else None,
        "peak_gain": float(fit.gain(peak)) if found else None,
        "peak_inside": float(inside.mean()), "points": points}


def _inside(peak: Floats, farthest: Floats) -> NDArray[np.bool_]:
    """Whether a peak lies between one draw and the most candidates measured."""
    return (peak > 0) & (peak < farthest)


def _with_ends(name: str, value: Floats, values: Floats) -> Row:
    low, high = np.nanpercentile(values, ENDS)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def _kl_of_picks(scores: Floats, n: int) -> float:
    """Exact KL of the best of n drawn from these candidates, with replacement, to one draw."""
    _, counts = np.unique(scores, return_counts=True)
    return exact_kl(counts / counts.sum(), n)
