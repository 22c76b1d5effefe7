"""The smoothed learning curve."""

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.statistics.outcomes import Floats


def exponential_moving_average(values: ArrayLike, smoothing: float = 0.95) -> Floats:
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
