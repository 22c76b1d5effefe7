"""Calibration of reward gaps: a gap d claims that chosen wins with probability sigmoid(d).

Chosen always comes first in preference data, so confidence is folded: sigmoid(|d|) against whether
d is positive. `outcomes.compare_gaps` says who is right (an equal score is half right), which is
why scikit-learn's curve of yes-or-no labels does not fit. The same code calibrates a reward model
and DPO's implicit reward.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import t

from lib.analysis.statistics.outcomes import Floats, compare_gaps

TEMPERATURES = (0.01, 1000.0)


def calibration(differences: ArrayLike, prompts: ArrayLike | None = None,
                bins: int = 5) -> dict[str, Any]:
    """Calibration of reward differences (chosen - rejected), [pairs]: the lower, the better.

    {"n", "accuracy" (ties half), "ece", "ece_floor", "ece_floor_high" (of `perfect_error`), "nll"
    (negative log-likelihood), "brier", "temperature", "temperature_low", "temperature_high",
    "nll_at_temperature", "bins" (of `reliability`)}. Dividing the differences by the temperature
    gives the lowest nll; the model is over-confident if its interval lies above 1. prompts: one a
    pair, because pairs of one prompt are correlated; None takes every pair for a prompt.
    """
    gaps, clusters = _of_prompts(differences, prompts)
    temperature = fit_temperature(gaps)
    low, high = temperature_interval(gaps, clusters)
    floor, floor_high = perfect_error(gaps, clusters, bins)
    return {"n": len(gaps), "accuracy": float(compare_gaps(gaps).mean()),
            "ece": expected_calibration_error(gaps, bins), "ece_floor": floor,
            "ece_floor_high": floor_high, "nll": _nll(gaps),
            "brier": float(np.mean((1 - expit(gaps)) ** 2)), "temperature": temperature,
            "temperature_low": low, "temperature_high": high,
            "nll_at_temperature": _nll(gaps / temperature), "bins": reliability(gaps, bins)}


def expected_calibration_error(differences: ArrayLike, bins: int = 5) -> float:
    """Mean gap between confidence and accuracy over equal bins of [0.5, 1], weighted by pairs.

    differences: reward of chosen minus rejected, [pairs]; NaN is left out, 0 counts as half right.
    It is above 0 for a perfect model too: see `perfect_error`.
    """
    rows = reliability(differences, bins)
    total = sum(row["n"] for row in rows)
    return float(sum(row["n"] / total * abs(row["confidence"] - row["hit"]) for row in rows))


def perfect_error(differences: ArrayLike, prompts: ArrayLike | None = None, bins: int = 5,
                  resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The expected calibration error of a model without any error: its mean and 95th percentile.

    Each prompt's deviations (hit - confidence) keep their size and get a random common sign (wild
    bootstrap), so that they average to nothing and stay correlated within the prompt.
    """
    gaps, clusters = _of_prompts(differences, prompts)
    place, confidence, hit = _binned(gaps, bins)
    deviations = np.zeros((clusters.max() + 1, bins))  # [prompts, bins]
    np.add.at(deviations, (clusters, place), hit - confidence)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (resamples, len(deviations)))
    errors = np.abs(signs @ deviations).sum(axis=1) / len(gaps)
    return float(errors.mean()), float(np.percentile(errors, 95))


def reliability(differences: ArrayLike, bins: int = 5) -> list[dict[str, Any]]:
    """The non-empty ones of `bins` equal bins of confidence between 0.5 and 1.

    {"low", "high", "n", "confidence" (mean), "hit" (share that was right)}.
    """
    place, confidence, hit = _binned(_present(differences), bins)
    rows = []
    for number in np.unique(place):
        inside, low = place == number, float(0.5 + number * 0.5 / bins)
        rows.append({"low": low, "high": low + 0.5 / bins, "n": int(inside.sum()),
                     "confidence": float(confidence[inside].mean()),
                     "hit": float(hit[inside].mean())})
    return rows


def fit_temperature(differences: ArrayLike) -> float:
    """Temperature T that minimises the mean of -log sigmoid(d / T), between 0.01 and 1000.

    Pairs that are all right (or all wrong) have no finite optimum and get the nearest end.
    """
    gaps = _present(differences)

    def slope(log_t: float) -> float:
        """Derivative of the likelihood up to a positive factor; it is zero at one temperature."""
        return float(np.mean(gaps * expit(-gaps / np.exp(log_t))))

    coldest, warmest = np.log(TEMPERATURES)
    if slope(coldest) * slope(warmest) >= 0:
        return float(TEMPERATURES[0] if slope(coldest) > 0 else TEMPERATURES[1])
    return float(np.exp(brentq(slope, coldest, warmest, xtol=1e-14)))


def temperature_interval(differences: ArrayLike, prompts: ArrayLike | None = None,
                         confidence: float = 0.95) -> tuple[float, float]:
    """Interval of `fit_temperature` over prompts: the whole range where there is no optimum.

    1 / T is the one coefficient of a logistic regression; its variance is the sandwich of the
    prompts' scores. Simulated with 120 prompts of seven correlated pairs it covers 93 to 97 %.
    """
    gaps, clusters = _of_prompts(differences, prompts)
    slope, number = 1 / fit_temperature(gaps), int(clusters.max()) + 1
    if number == 1 or not 1 / TEMPERATURES[1] < slope < 1 / TEMPERATURES[0]:
        return TEMPERATURES
    wrong = expit(-slope * gaps)
    scores = np.bincount(clusters, gaps * wrong)  # [prompts]
    variance = number / (number - 1) * (scores @ scores) / (gaps**2 @ (wrong * (1 - wrong))) ** 2
    reach = t.ppf(0.5 + confidence / 2, number - 1) * np.sqrt(variance)
    ends = np.clip([slope + reach, slope - reach], 1 / TEMPERATURES[1], 1 / TEMPERATURES[0])
    return float(1 / ends[0]), float(1 / ends[1])


def _binned(gaps: Floats, bins: int) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Each pair's bin of confidence, its confidence, and whether it was right; [pairs] each."""
    confidence, hit = expit(np.abs(gaps)), compare_gaps(gaps)
    place = np.minimum((confidence - 0.5) * 2 * bins, bins - 1).astype(int)
    return place, confidence, hit


def _of_prompts(differences: ArrayLike,
                prompts: ArrayLike | None) -> tuple[Floats, NDArray[np.int64]]:
    """The present differences and the number of each one's prompt, from 0."""
    gaps = np.asarray(differences, dtype=float)
    names = np.arange(len(gaps)) if prompts is None else np.asarray(prompts)
    return _present(gaps), np.unique(names[~np.isnan(gaps)], return_inverse=True)[1]


def _nll(gaps: Floats) -> float:
    return float(np.mean(np.logaddexp(0, -gaps)))


def _present(differences: ArrayLike) -> Floats:
    gaps = np.asarray(differences, dtype=float)
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        raise ValueError("no reward difference is left; calibration needs at least one pair")
    return gaps
