"""A judge's win rate corrected for the judge's own errors (prediction-powered inference).

The judge scores many prompts, a trusted reader only some. The correction adds the reader's mean
disagreement with the judge on those, and the interval widens by how uncertain that is (Angelopoulos
et al. 2023, 2301.09633). The weight of 2311.01453 (PPI++) gives the shortest interval where both
saw answers of the same systems; it falls back on the reader alone when the judge says nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.statistics.clusters import clustered_mean_interval
from lib.analysis.statistics.intervals import difference_interval, mean_interval
from lib.analysis.statistics.outcomes import Floats


@dataclass(frozen=True)
class Corrected:
    """A win rate that a biased judge cannot move, with its 95 % interval (cut to 0..1).

    judge_rate and reader_rate are the two uncorrected means, the reader's with its own interval;
    weight (0 to 1) is how far the judge was trusted; the judged prompts narrow
    the interval only where it is above 0.
    """

    win_rate: float
    low: float
    high: float
    judge_rate: float
    reader_rate: float
    reader_low: float
    reader_high: float
    weight: float
    labelled: int
    judged: int


def prediction_powered_win_rate(judged: ArrayLike, judge_on_labelled: ArrayLike,
                                reader_on_labelled: ArrayLike,
                                weight: float | None = None,
                                confidence: float = 0.95) -> Corrected:
    """Correct the mean of `judged` outcomes [prompts] by a reader's on labelled ones [labelled].

    All are 1, 0.5, 0 or NaN (left out). It holds if the judge errs on the labelled answers as it
    does on the judged ones. The interval joins the score interval of the judge's rate with a t
    interval of its mean error, as of other prompts; prompts that are in both make it a little wide.
    weight 1 keeps the judge's verdict and takes its mean error off, so it is the one to use when
    the labelled answers come from other systems; None picks the weight with the shortest interval.
    Raises ValueError for fewer than two prompts of either.
    """
    outcomes = _present(np.asarray(judged, float))
    judge, reader = _both(judge_on_labelled, reader_on_labelled)
    if len(outcomes) < 2 or len(judge) < 2:
        raise ValueError(f"{len(outcomes)} judged and {len(judge)} labelled prompts; a correction "
                         "needs at least two of each")
    weight = _weight(outcomes, judge, reader) if weight is None else weight
    trusted = weight * outcomes.mean()
    error = float(np.mean(weight * judge - reader))
    ends = difference_interval(
        trusted, tuple(weight * end for end in mean_interval(outcomes, confidence)),
        error, clustered_mean_interval(weight * judge - reader, confidence=confidence))
    low, rate, high = (float(np.clip(end, 0, 1)) for end in (ends.low, trusted - error, ends.high))
    return Corrected(rate, low, high, float(outcomes.mean()), float(reader.mean()),
                     *mean_interval(reader, confidence), weight, len(judge), len(outcomes))


def _weight(outcomes: Floats, judge: Floats, reader: Floats) -> float:
    """The weight with the smallest variance: cov(reader, judge) / ((1 + n / N) var(judge))."""
    spread = judge.var(ddof=1)
    if spread == 0:
        return 0.0
    together = np.cov(reader, judge)[0, 1]
    best = together / ((1 + len(judge) / len(outcomes)) * spread)
    return float(np.clip(best, 0, 1))


def _present(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _both(judge: ArrayLike, reader: ArrayLike) -> tuple[Floats, Floats]:
    left, right = np.asarray(judge, float), np.asarray(reader, float)
    if left.shape != right.shape:
        raise ValueError(f"{left.size} outcomes of the judge against {right.size} of the reader; "
                         "both must be of the labelled prompts")
    kept = ~(np.isnan(left) | np.isnan(right))
    return left[kept], right[kept]
