"""Calibration of reward gaps: a gap d claims that chosen wins with probability sigmoid(d).

Chosen always comes first in preference data, so confidence is folded: sigmoid(|d|) against whether
d is positive. `outcomes.compare_gaps` says who is right (an equal score is half right), which is
why scikit-learn's curve of yes-or-no labels does not fit. The same code calibrates a reward model
and DPO's implicit reward.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from lib.analysis.statistics.outcomes import Floats, compare_gaps

TEMPERATURES = (0.01, 1000.0)


def calibration(differences: ArrayLike, bins: int = 5) -> dict[str, Any]:
    """Calibration of reward differences (chosen - rejected), [pairs]: the lower, the better.

    {"n", "accuracy" (ties half), "ece", "nll" (negative log-likelihood), "brier", "temperature",
    "nll_at_temperature", "bins" (of `reliability`)}. Dividing the differences by the temperature
    gives the lowest nll; above 1 the model is over-confident.
    """
    gaps = _present(differences)
    temperature = fit_temperature(gaps)
    return {"n": len(gaps), "accuracy": float(compare_gaps(gaps).mean()),
            "ece": expected_calibration_error(gaps, bins), "nll": _nll(gaps),
            "brier": float(np.mean((1 - expit(gaps)) ** 2)), "temperature": temperature,
            "nll_at_temperature": _nll(gaps / temperature), "bins": reliability(gaps, bins)}


def expected_calibration_error(differences: ArrayLike, bins: int = 5) -> float:
    """Mean gap between confidence and accuracy over equal bins of [0.5, 1], weighted by pairs.

    differences: reward of chosen minus rejected, [pairs]; NaN is left out, 0 counts as half right.
    Biased upward for few pairs.
    """
    rows = reliability(differences, bins)
    total = sum(row["n"] for row in rows)
    return float(sum(row["n"] / total * abs(row["confidence"] - row["hit"]) for row in rows))


def reliability(differences: ArrayLike, bins: int = 5) -> list[dict[str, Any]]:
    """The non-empty ones of `bins` equal bins of confidence between 0.5 and 1.

    {"low", "high", "n", "confidence" (mean), "hit" (share that was right)}.
    """
    gaps = _present(differences)
    confidence, hit = expit(np.abs(gaps)), compare_gaps(gaps)
    place = np.minimum((confidence - 0.5) * 2 * bins, bins - 1).astype(int)
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


def _nll(gaps: Floats) -> float:
    return float(np.mean(np.logaddexp(0, -gaps)))


def _present(differences: ArrayLike) -> Floats:
    gaps = np.asarray(differences, dtype=float)
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        raise ValueError("no reward difference is left; calibration needs at least one pair")
    return gaps
