"""Does a reward gap mean what it says? A gap d claims that chosen wins with chance sigmoid(d).

Chosen always comes first in preference data, so confidence is folded: sigmoid(|d|) against whether
d is positive. Who is right follows `outcomes.compare_gaps` (an equal score is half right), which is
why scikit-learn's curve of yes-or-no labels does not fit. The same code calibrates a reward model
and DPO's implicit reward.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from lib.analysis.statistics.outcomes import Floats, compare_gaps

TEMPERATURES = (0.01, 1000.0)


class Bin(NamedTuple):
    """One bin of confidence with its n pairs: mean confidence and the share that was right."""

    low: float
    high: float
    n: int
    confidence: float
    hit: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of reward differences (chosen - rejected) on n pairs; lower is better.

    temperature: dividing the differences by it gives the best negative log-likelihood; above 1 the
    model is over-confident.
    """

    n: int
    accuracy: float
    ece: float
    nll: float
    brier: float
    temperature: float
    nll_at_temperature: float
    bins: tuple[Bin, ...]

    def row(self) -> dict[str, Any]:
        """The same as a plain row for JSON, each bin a row of its own."""
        return asdict(self) | {"bins": [part._asdict() for part in self.bins]}


def expected_calibration_error(differences: ArrayLike, bins: int = 5) -> float:
    """Mean gap between confidence and accuracy over equal bins of [0.5, 1], weighted by pairs.

    differences: reward of chosen minus rejected, [pairs]; NaN is left out, 0 counts as half right.
    Biased upward for few pairs.
    """
    rows = reliability(differences, bins)
    total = sum(row.n for row in rows)
    return float(sum(row.n / total * abs(row.confidence - row.hit) for row in rows))


def reliability(differences: ArrayLike, bins: int = 5) -> list[Bin]:
    """The bins, of `bins` equal ones between 0.5 and 1, that hold at least one pair."""
    gaps = _present(differences)
    confidence, hit = expit(np.abs(gaps)), compare_gaps(gaps)
    place = np.minimum((confidence - 0.5) * 2 * bins, bins - 1).astype(int)
    width = 0.5 / bins
    rows = []
    for number in np.unique(place):
        inside = place == number
        low = float(0.5 + number * width)
        rows.append(Bin(low, low + width, int(inside.sum()),
                        float(confidence[inside].mean()), float(hit[inside].mean())))
    return rows


def fit_temperature(differences: ArrayLike) -> float:
    """Temperature T that minimises the mean of -log sigmoid(d / T), searched in 0.01 to 1000.

    Pairs that are all right (or all wrong) have no finite optimum and land on the border.
    """
    gaps = _present(differences)

    def slope(log_t: float) -> float:
        """Derivative of the likelihood up to a positive factor; it is zero at one temperature."""
        return float(np.mean(gaps * expit(-gaps / np.exp(log_t))))

    coldest, warmest = np.log(TEMPERATURES)
    if slope(coldest) * slope(warmest) >= 0:
        return float(TEMPERATURES[0] if slope(coldest) > 0 else TEMPERATURES[1])
    return float(np.exp(brentq(slope, coldest, warmest, xtol=1e-14)))


def calibration(differences: ArrayLike, bins: int = 5) -> Calibration:
    """Accuracy (ties half), ECE, negative log-likelihood, Brier score and fitted temperature."""
    gaps = _present(differences)
    temperature = fit_temperature(gaps)
    return Calibration(len(gaps), float(compare_gaps(gaps).mean()),
                       expected_calibration_error(gaps, bins), _nll(gaps),
                       float(np.mean((1 - expit(gaps)) ** 2)), temperature,
                       _nll(gaps / temperature), tuple(reliability(gaps, bins)))


def _nll(gaps: Floats) -> float:
    return float(np.mean(np.logaddexp(0, -gaps)))


def _present(differences: ArrayLike) -> Floats:
    gaps = np.asarray(differences, dtype=float)
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        raise ValueError("no reward difference is left; calibration needs at least one pair")
    return gaps
