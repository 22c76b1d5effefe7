"""How far a reward difference can be read as a probability.

With the chosen answer always first, P(chosen wins) has the constant label 1 and its calibration
says nothing; so confidence is folded: conf = sigmoid(|difference|), hit = the sign was right.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True)
class Calibration:
    """Folded calibration of reward differences (better minus worse answer).

    bins: one dict {low, high, n, confidence, hits} a bin that is not empty. temperature: the
    divisor of the differences at which `nll` is lowest; above 1 the scores are overconfident.
    """

    ece: float
    nll: float
    brier: float
    temperature: float
    nll_at_temperature: float
    bins: list[dict[str, float]]


def calibration(differences: np.ndarray, bins: int = 5) -> Calibration:
    """Expected calibration error, NLL, Brier score and best temperature of differences, [pairs].

    `bins` are equal parts of [0.5, 1]. The ECE of a small sample is biased upward: show n.
    """
    differences = np.asarray(differences, dtype=np.float64)
    table = _bins(differences, bins)
    ece = sum(row["n"] * abs(row["confidence"] - row["hits"]) for row in table) / len(differences)
    temperature = fit_temperature(differences)
    brier = float(np.mean((1 - expit(differences)) ** 2))
    return Calibration(ece, _nll(differences), brier, temperature,
                       _nll(differences / temperature), table)


def fit_temperature(differences: np.ndarray) -> float:
    """The T in [0.01, 100] with the lowest NLL of sigmoid(difference / T) (Guo et al. 2017)."""
    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(lambda log_t: _nll(differences / np.exp(log_t)), bounds=(low, high),
                            method="bounded", options={"xatol": 1e-9})
    return float(np.exp(found.x))


def _nll(differences: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0.0, -differences)))


def _bins(differences: np.ndarray, bins: int) -> list[dict[str, float]]:
    confidence, hits = expit(np.abs(differences)), (differences > 0) + 0.5 * (differences == 0)
    edges = np.linspace(0.5, 1.0, bins + 1)
    number = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    return [{"low": float(edges[index]), "high": float(edges[index + 1]), "n": int(inside.sum()),
             "confidence": float(confidence[inside].mean()), "hits": float(hits[inside].mean())}
            for index in range(bins) if (inside := number == index).any()]
