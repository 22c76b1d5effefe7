"""The smoothed learning curve."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lib.analysis.statistics.outcomes import Floats


def exponential_moving_average(values: ArrayLike, smoothing: float = 0.95) -> Floats:
    """TensorBoard's smoothed curve: an exponential average divided by the sum of its weights.

    values: [steps]. NaN and infinity keep their place and do not enter the average. At 0.95 the
    curve lags about 19 steps: never read a final loss from it. Raises ValueError for a smoothing
    outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; use 0 (none) to just below 1")
    values = np.asarray(values, dtype=float)
    finite = pd.Series(np.where(np.isfinite(values), values, np.nan))
    smoothed = finite.ewm(alpha=1 - smoothing, adjust=True, ignore_na=True).mean()
    return np.where(np.isfinite(values), smoothed, values)
