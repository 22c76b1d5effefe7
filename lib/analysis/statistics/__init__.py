"""The study's statistics by name; each one's room has the details.

This module holds the two that every notebook starts with, the win rate and the smoothed curve, and
gathers the others: intervals, clusters, bootstrap, tests, ratings, length control, agreement,
calibration.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.statistics.agreement import agreement, cohen_kappa, gwet_ac1
from lib.analysis.statistics.bootstrap import interaction_test, paired_bootstrap
from lib.analysis.statistics.bradley_terry import bradley_terry
from lib.analysis.statistics.calibration import (
    calibration,
    expected_calibration_error,
    fit_temperature,
)
from lib.analysis.statistics.clusters import (
    clustered_mean_interval,
    clustered_share_interval,
    seed_spread,
)
from lib.analysis.statistics.intervals import (
    clopper_pearson,
    mean_interval,
    score_interval,
    wilson_interval,
)
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.selection_null import best_of_n_null, selection_win_rate
from lib.analysis.statistics.significance import (
    exact_power,
    exact_prompts_needed,
    holm,
    mcnemar,
    prompts_needed,
    sign_test,
)

__all__ = [
    "agreement", "best_of_n_null", "bradley_terry", "calibration", "clopper_pearson",
    "clustered_mean_interval", "clustered_share_interval", "cohen_kappa", "compare_scores",
    "exact_power", "exact_prompts_needed", "expected_calibration_error",
    "exponential_moving_average", "fit_temperature", "gwet_ac1", "holm", "interaction_test",
    "length_controlled_win_rate", "mcnemar", "mean_interval", "paired_bootstrap",
    "prompts_needed", "score_interval", "seed_spread", "selection_win_rate", "sign_test",
    "wilson_interval", "win_rate",
]


def win_rate(scores_a: ArrayLike, scores_b: ArrayLike) -> float:
    """Share of prompts on which a scores higher than b, a tie counting half; both are [prompts].

    Prompts without both scores are left out. Raises ValueError when none is left.
    """
    outcomes = compare_scores(scores_a, scores_b)
    if np.isnan(outcomes).all():
        raise ValueError("no prompt has both scores; a win rate needs at least one")
    return float(np.nanmean(outcomes))


def compare_scores(scores_a: ArrayLike, scores_b: ArrayLike) -> NDArray[np.float64]:
    """1 where a wins, 0.5 where both score the same, 0 where b wins, NaN where a score is missing.

    Scores are compared within a prompt only, so their scale does not matter. Shape [prompts].
    """
    a, b = np.asarray(scores_a, dtype=float), np.asarray(scores_b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"{a.size} scores against {b.size}; both must be of one prompt set")
    return np.where(np.isnan(a) | np.isnan(b), np.nan, (np.sign(a - b) + 1) / 2)


def exponential_moving_average(values: ArrayLike, smoothing: float = 0.95) -> NDArray[np.float64]:
    """TensorBoard's smoothed curve: an exponential average divided by the weight it has so far.

    values is [steps], one a step; NaN and infinity pass through and do not count; a constant curve
    is returned as it is. At 0.95 it lags about 19 steps: never read a final loss from it. Raises
    ValueError for a smoothing outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; use 0 (none) to just below 1")
    values = np.asarray(values, dtype=float)
    smoothed, last, weight = values.copy(), 0.0, 1.0
    if not len(values) or np.all(values == values[0]):
        return smoothed
    for step, value in enumerate(values):
        if np.isfinite(value):
            last = smoothing * last + (1 - smoothing) * value
            weight *= smoothing
            smoothed[step] = last / (1 - weight)
    return smoothed
