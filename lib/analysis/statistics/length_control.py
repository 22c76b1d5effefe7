"""Win rate with the judge's taste for length taken out (length-controlled win rate).

The model of AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475) without its leaderboard-wide
difficulty table: logit P(a wins) = theta + phi tanh((length_a - length_b) / sd) [+ psi difficulty].
The controlled rate is the model's mean prediction with the length term set to zero. Its interval
rests on a variance that does not believe the model (sandwich), so that ties may be halves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import t

Floats = NDArray[np.float64]
SEPARABLE = 12.0  # a coefficient beyond this means that the data have no finite maximum
RIDGE = 0.1
NEWTON_STEPS = 100
SETTLED = 1e-8  # steps shrink to their square: the next one would be rounding


@dataclass(frozen=True)
class LengthControlled:
    """win_rate with the length term removed, its 95 % interval, the raw rate, what removed it.

    length_coefficient > 0: the judge prefers the longer answer. penalty is 0 or the ridge that
    separable data needed. extreme: the correction exceeds both ten points and a quarter of the raw
    rate (AlpacaEval's own check), so read it with care.
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

    All arguments are [prompts]. Separable data get a ridge of 0.1 and say so. Raises ValueError
    when no outcome is left.
    """
    wins, columns = _design(outcomes, lengths_a, lengths_b, difficulty)
    penalty, coefficients = 0.0, _logistic(columns, wins, 0.0)
    if coefficients is None or np.max(np.abs(coefficients)) > SEPARABLE:
        penalty, coefficients = RIDGE, _logistic(columns, wins, RIDGE)
    without_length = columns * (np.arange(columns.shape[1]) != 1)
    chance = expit(without_length @ coefficients)
    rate, raw = float(chance.mean()), float(wins.mean())
    slope = (chance * (1 - chance)) @ without_length / len(wins)
    variance = slope @ _covariance(columns, wins, coefficients, penalty) @ slope
    low, high = _interval(rate, variance, len(wins) - columns.shape[1])
    psi = None if difficulty is None else float(coefficients[2])
    return LengthControlled(rate, low, high, raw, float(coefficients[0]), float(coefficients[1]),
                            psi, penalty, _is_extreme(rate, raw))


def length_term(lengths_a: Floats, lengths_b: Floats) -> Floats:
    """tanh of the length difference in its standard deviations (ddof 1); 0 where all are alike."""
    difference = lengths_a - lengths_b
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return np.tanh(difference / spread) if spread > 0 else np.zeros_like(difference)


def _design(outcomes: ArrayLike, lengths_a: ArrayLike, lengths_b: ArrayLike,
            difficulty: ArrayLike | None) -> tuple[Floats, Floats]:
    """Outcomes [kept] and columns [kept, 2 or 3]: constant, length term, difficulty."""
    wins = np.asarray(outcomes, float)
    kept = ~np.isnan(wins)
    if not kept.any():
        raise ValueError("no prompt has an outcome; a win rate needs at least one")
    term = length_term(np.asarray(lengths_a, float)[kept], np.asarray(lengths_b, float)[kept])
    columns = [np.ones(kept.sum()), term]
    if difficulty is not None:
        columns.append(np.asarray(difficulty, float)[kept])
    return wins[kept], np.stack(columns, axis=1)


def _logistic(columns: Floats, wins: Floats, ridge: float) -> Floats | None:
    """Newton's method for fractional outcomes; None when it does not settle."""
    used = np.any(columns != 0, axis=0)  # lengths that never differ have no coefficient: 0
    design = columns[:, used]
    coefficients = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = expit(design @ coefficients)
        gradient = design.T @ (wins - chance) - ridge * coefficients
        curvature = (design.T * (chance * (1 - chance))) @ design + ridge * np.eye(len(gradient))
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, gradient)
        coefficients += np.clip(step, -2, 2)
        if np.max(np.abs(step)) < SETTLED:
            break
    full = np.zeros(columns.shape[1])
    full[used] = coefficients
    return full


def _covariance(columns: Floats, wins: Floats, coefficients: Floats, ridge: float) -> Floats:
    """Sandwich covariance of the coefficients (HC1); 0 for a column that is 0 throughout.

    With a ridge, and for ties alone, it is the model's own: there are no residuals to learn from.
    """
    chance = expit(columns @ coefficients)
    curvature = (columns.T * (chance * (1 - chance))) @ columns + ridge * np.eye(columns.shape[1])
    bread, residuals = np.linalg.pinv(curvature), wins - chance
    if ridge or np.allclose(residuals, 0):
        return bread
    scores = columns * residuals[:, None]
    spare = max(len(wins) - columns.shape[1], 1)
    return bread @ (scores.T @ scores) @ bread * len(wins) / spare


def _interval(rate: float, variance: float, freedom: int) -> tuple[float, float]:
    """95 % interval, symmetric in the log-odds so that it stays within 0 to 1."""
    if freedom < 1 or not 0 < rate < 1:
        return 0.0, 1.0
    reach = t.ppf(0.975, freedom) * np.sqrt(variance) / (rate * (1 - rate))
    return float(expit(logit(rate) - reach)), float(expit(logit(rate) + reach))


def _is_extreme(rate: float, raw: float) -> bool:
    side = raw if rate < raw else 1 - raw
    return abs(rate - raw) > 0.1 and abs(rate - raw) > side / 4
