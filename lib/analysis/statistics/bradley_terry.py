"""Bradley-Terry ratings: one number a system from all its comparisons.

P(i beats j) = sigmoid(strength_i - strength_j), ties are half a win each, strengths sum to zero.
A system that never loses (or a group that never meets another) has no finite maximum: then every
pair gets half a win in each direction, and `prior` reports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from lib.analysis.statistics.bootstrap import bootstrap_means
from lib.analysis.statistics.outcomes import Floats

ELO_PER_NAT = 400 / log(10)
HALF_WIN = 0.5
NEWTON_STEPS = 200
TOLERANCE = 1e-8  # Newton is quadratic: the next step is below float64


@dataclass(frozen=True)
class Ratings:
    """Strengths (natural log scale, sum zero) of `systems` with bootstrap intervals over prompts.

    prior is the wins added to each cell (0.5 or 0); misfit is the largest gap between an observed
    win rate and the model's, a sign of intransitive preferences.
    """

    systems: tuple[str, ...]
    strengths: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    prior: float
    misfit: float

    @property
    def elo(self) -> tuple[float, ...]:
        """The strengths on Elo's scale (400 points are odds of ten to one), mean zero."""
        return tuple(strength * ELO_PER_NAT for strength in self.strengths)


def bradley_terry(wins: ArrayLike, prior: float | None = None) -> Floats:
    """Maximum-likelihood strengths, [..., systems], sum zero; wins[..., i, j] = wins of i over j.

    prior is added to each off-diagonal cell; None adds half a win only where no finite maximum
    exists. Newton's method on all leading dimensions at once (Bradley & Terry 1952).
    """
    wins = np.array(wins, dtype=float)
    if wins.ndim < 2 or wins.shape[-1] != wins.shape[-2]:
        raise ValueError(f"wins has shape {wins.shape}, expected a square matrix of systems")
    others = ~np.eye(wins.shape[-1], dtype=bool)
    added = prior_needed(wins) if prior is None else np.full(wins.shape[:-2], prior)
    return _newton((wins + added[..., None, None]) * others)


def prior_needed(wins: Floats) -> Floats:
    """0.5 where some system beats some other neither directly nor through others, else 0; [...]."""
    reach = (wins > 0) | np.eye(wins.shape[-1], dtype=bool)
    for _ in range(wins.shape[-1].bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    return np.where(reach.all(axis=(-2, -1)), 0.0, HALF_WIN)


def expected_wins(strengths: Floats) -> Floats:
    """P(i beats j) of the fitted model, [..., systems, systems]."""
    return expit(strengths[..., :, None] - strengths[..., None, :])


def fit_ratings(systems: Sequence[str], pairs: Sequence[tuple[int, int]], outcomes: ArrayLike,
                resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Ratings:
    """Ratings from outcomes [prompts, pairs]; column k is systems[i] against systems[j].

    (i, j) = pairs[k]; an outcome is 1, 0.5, 0 or NaN (missing). Intervals resample prompts, the
    same for all pairs. A system without an outcome has no rating.
    """
    systems, pairs, outcomes = _that_met(systems, pairs, np.asarray(outcomes, dtype=float))
    if not systems:
        return Ratings((), (), (), (), 0.0, 0.0)
    counts = np.sum(~np.isnan(outcomes), axis=0)
    wins = wins_matrix(np.nansum(outcomes, axis=0), counts, pairs, len(systems))
    strengths = bradley_terry(wins)
    means = np.nan_to_num(bootstrap_means(outcomes, resamples, seed), nan=0.5)
    draws = bradley_terry(wins_matrix(means * counts, counts, pairs, len(systems)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail], axis=0)
    return Ratings(tuple(systems), tuple(map(float, strengths)), tuple(map(float, low)),
                   tuple(map(float, high)), float(prior_needed(wins)), _misfit(wins, strengths))


def _that_met(systems: Sequence[str], pairs: Sequence[tuple[int, int]],
              outcomes: Floats) -> tuple[list[str], list[tuple[int, int]], Floats]:
    """The systems with an outcome, and the pairs of these with their columns."""
    columns = [place for place in range(len(pairs)) if not np.isnan(outcomes[:, place]).all()]
    met = sorted({system for place in columns for system in pairs[place]})
    new = {system: place for place, system in enumerate(met)}
    return ([systems[system] for system in met],
            [(new[i], new[j]) for i, j in (pairs[place] for place in columns)],
            outcomes[:, columns])


def wins_matrix(won: ArrayLike, counts: ArrayLike, pairs: Sequence[tuple[int, int]],
                systems: int) -> Floats:
    """Wins (ties halved) by pair, [..., pairs], as a matrix [..., systems, systems]."""
    won, counts = np.asarray(won, float), np.asarray(counts, float)
    matrix = np.zeros((*won.shape[:-1], systems, systems))
    for column, (first, second) in enumerate(pairs):
        matrix[..., first, second] += won[..., column]
        matrix[..., second, first] += counts[..., column] - won[..., column]
    return matrix


def _newton(wins: Floats) -> Floats:
    """All resamples at once, which no library's fit does: [..., systems]."""
    games = wins + np.swapaxes(wins, -1, -2)
    size = wins.shape[-1]
    strengths = np.zeros(wins.shape[:-1])
    for _ in range(NEWTON_STEPS):
        chance = expected_wins(strengths)
        gradient = np.sum(wins - games * chance, axis=-1)
        weight = games * chance * (1 - chance)
        curvature = np.eye(size) * weight.sum(axis=-1)[..., None] - weight
        step = np.linalg.solve(curvature + 1 / size, gradient[..., None])[..., 0]  # keeps sum zero
        strengths = strengths + np.clip(step, -1, 1)  # a full step may overshoot
        if np.max(np.abs(step), initial=0) < TOLERANCE:
            break
    return strengths - strengths.mean(axis=-1, keepdims=True)


def _misfit(wins: Floats, strengths: Floats) -> float:
    games = wins + wins.T
    met = games > 0
    observed = np.divide(wins, games, where=met, out=np.full_like(wins, np.nan))
    return float(np.max(np.abs(observed - expected_wins(strengths))[met], initial=0.0))
