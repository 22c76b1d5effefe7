"""Length-controlled win rate: the win rate without the judge's preference for length.

The model of AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475) without its leaderboard-wide
difficulty table: logit P(a wins) = theta + phi tanh((length_a - length_b) / sd) [+ psi difficulty].
The controlled rate is the model's mean prediction with the length term set to zero. Its interval
uses the sandwich variance, which holds for a misspecified model, so that ties may be halves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root
from scipy.special import expit, logit
from scipy.stats import t

from lib.analysis.statistics.outcomes import Floats

SEPARABLE = 12.0  # a coefficient beyond this means that the likelihood has no finite maximum
RIDGE = 0.1
TOLERANCE = 1e-12  # of the coefficients


@dataclass(frozen=True)
class LengthControlled:
    """win_rate with the length term removed, its 95 % interval, and the raw win rate.

    length_coefficient > 0: the judge prefers the longer answer. penalty: 0, or the ridge for
    separable data. extreme: the correction exceeds both ten points and a quarter of the raw rate
    (AlpacaEval's own check), so read it with care.
    """

    win_rate: float
    low: float
    high: float
    raw: float
    theta: float
    length_coefficient: float
    difficulty_coefficient: float | None
    penalty: float
    extreme: bool


def length_controlled_win_rate(outcomes: ArrayLike, lengths_a: ArrayLike, lengths_b: ArrayLike,
                               difficulty: ArrayLike | None = None) -> LengthControlled:
    """Fit the model by maximum likelihood; outcomes 1, 0.5 (tie), 0 or NaN, lengths of one unit.

    All arguments are [prompts]. Separable data get a ridge of 0.1, reported as `penalty`. Raises
    ValueError when no outcome is left.
    """
    wins, columns = _design(outcomes, lengths_a, lengths_b, difficulty)
    coefficients, covariance, penalty = _fit(columns, wins)
    without_length = columns * (np.arange(columns.shape[1]) != 1)
    chance = expit(without_length @ coefficients)
    rate, raw = float(chance.mean()), float(wins.mean())
    slope = (chance * (1 - chance)) @ without_length / len(wins)
    low, high = _interval(rate, slope @ covariance @ slope, len(wins) - columns.shape[1])
    psi = None if difficulty is None else float(coefficients[2])
    return LengthControlled(rate, low, high, raw, float(coefficients[0]), float(coefficients[1]),
                            psi, penalty, _is_extreme(rate, raw))


def _design(outcomes: ArrayLike, lengths_a: ArrayLike, lengths_b: ArrayLike,
            difficulty: ArrayLike | None) -> tuple[Floats, Floats]:
    """Outcomes [kept] and columns [kept, 2 or 3]: constant, length term, difficulty.

    The length term is tanh of difference / standard deviation; 0 for equal differences.
    """
    wins = np.asarray(outcomes, float)
    kept = ~np.isnan(wins)
    if not kept.any():
        raise ValueError("no prompt has an outcome; a win rate needs at least one")
    difference = (np.asarray(lengths_a, float) - np.asarray(lengths_b, float))[kept]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    columns = [np.ones(kept.sum()), np.tanh(difference / spread) if spread else difference * 0]
    if difficulty is not None:
        columns.append(np.asarray(difficulty, float)[kept])
    return wins[kept], np.stack(columns, axis=1)


def _fit(columns: Floats, wins: Floats, ridge: float = 0.0) -> tuple[Floats, Floats, float]:
    """Maximum-likelihood coefficients, their covariance (sandwich, HC1) and the ridge.

    With a ridge, and for ties alone, the covariance is the model's own, for lack of residuals.
    (statsmodels' GLM fits the same, but not separable, tied or equally long answers.)
    """
    found = root(lambda b: columns.T @ (wins - expit(columns @ b)) - ridge * b,
                 np.zeros(columns.shape[1]), tol=TOLERANCE)
    if not ridge and (np.max(np.abs(found.fun)) > 1e-9 or np.max(np.abs(found.x)) > SEPARABLE):
        return _fit(columns, wins, RIDGE)
    chance = expit(columns @ found.x)
    curvature = (columns.T * (chance * (1 - chance))) @ columns + ridge * np.eye(columns.shape[1])
    bread, residuals = np.linalg.pinv(curvature), wins - chance
    if ridge or np.allclose(residuals, 0):
        return found.x, bread, ridge
    scores = columns * residuals[:, None]
    spare = max(len(wins) - columns.shape[1], 1)
    return found.x, bread @ (scores.T @ scores) @ bread * len(wins) / spare, ridge


def _interval(rate: float, variance: float, freedom: int) -> tuple[float, float]:
    """95 % interval, symmetric in the log-odds so that it stays within 0 to 1."""
    if freedom < 1 or not 0 < rate < 1:
        return 0.0, 1.0
    reach = t.ppf(0.975, freedom) * np.sqrt(variance) / (rate * (1 - rate))
    return float(expit(logit(rate) - reach)), float(expit(logit(rate) + reach))


def _is_extreme(rate: float, raw: float) -> bool:
    side = raw if rate < raw else 1 - raw
    return abs(rate - raw) > 0.1 and abs(rate - raw) > side / 4
