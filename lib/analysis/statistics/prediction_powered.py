"""A judge's win rate corrected for the judge's own errors (prediction-powered inference).

The judge scores many prompts, a trusted reader only some. The correction adds the reader's mean
disagreement with the judge on those, and the interval widens by the uncertainty of that mean
(Angelopoulos et al. 2023, 2301.09633). The weight of 2311.01453 (PPI++) gives the shortest interval
where both read answers of the same systems; for a useless judge it leaves the reader alone.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from lib.analysis.statistics.clusters import clustered_mean_interval
from lib.analysis.statistics.intervals import difference_interval, mean_interval
from lib.analysis.statistics.outcomes import Floats


def prediction_powered_win_rate(judged: ArrayLike, judge_on_labelled: ArrayLike,
                                reader_on_labelled: ArrayLike,
                                weight: float | None = None) -> dict[str, Any]:
    """Correct the mean of `judged` outcomes [prompts] by a reader's on labelled ones [labelled].

    All are 1, 0.5, 0 or NaN (left out). {"win_rate", "low", "high"}: corrected, with its 95 %
    interval, cut to 0..1; "judge_rate", "reader_rate", "reader_low", "reader_high": uncorrected;
    "weight": 0 to 1, how far the judge is trusted; "labelled", "judged": prompts.

    The correction holds if the judge errs on the labelled answers as on the judged ones. It joins
    the score interval of the judge's rate with a t interval of the mean error, as if no prompt were
    in both, so prompts that are in both make it a little wide. Weight 1 subtracts the mean error
    from the judge's rate: use it where the labelled answers come from other systems. None takes the
    weight with the shortest interval. Raises ValueError for fewer than two prompts of either.
    """
    outcomes = _present(np.asarray(judged, float))
    judge, reader = _both(judge_on_labelled, reader_on_labelled)
    if len(outcomes) < 2 or len(judge) < 2:
        raise ValueError(f"{len(outcomes)} judged and {len(judge)} labelled prompts; a correction "
                         "needs at least two of each")
    weight = _weight(outcomes, judge, reader) if weight is None else weight
    trusted, errors = weight * outcomes.mean(), weight * judge - reader
    low, high = mean_interval(outcomes)
    ends = difference_interval(
        trusted, (weight * low, weight * high),
        float(errors.mean()), clustered_mean_interval(errors))
    low, rate, high = (float(np.clip(end, 0, 1))
                       for end in (ends.low, trusted - errors.mean(), ends.high))
    reader_low, reader_high = mean_interval(reader)
    return {"win_rate": rate, "low": low, "high": high, "judge_rate": float(outcomes.mean()),
            "reader_rate": float(reader.mean()), "reader_low": reader_low,
            "reader_high": reader_high, "weight": weight, "labelled": len(judge),
            "judged": len(outcomes)}


def nested_win_rate(judged: ArrayLike, judge_on_read: ArrayLike, reader: ArrayLike,
                    weight: float | None = None) -> dict[str, Any]:
    """Correct a judge's rate over all prompts by a reader of some of them; all are [prompts].

    judged: the judge's rate on each prompt, over all pairs of candidates; judge_on_read and reader:
    outcomes of the answers that the reader read, NaN elsewhere. The read prompts are taken as a
    random part of all and their answers as random draws, so that weight * mean(judged) +
    mean(reader - weight * judge_on_read) estimates the reader's rate over all candidates.
    The keys are those of `prediction_powered_win_rate`; weight 1 takes the judge's mean error off,
    None takes the weight with the shortest interval. It is a t interval of the read prompts, which
    counts that they are in both parts, cut to 0..1; simulated with 20 to 64 of 200 prompts it
    covers 94 to 96 %. Raises ValueError for fewer than two read prompts.
    """
    rates = np.asarray(judged, dtype=float)
    found, verdicts = np.asarray(judge_on_read, float), np.asarray(reader, float)
    kept = ~np.isnan(rates)
    rates, found, verdicts = rates[kept], found[kept], verdicts[kept]
    read = ~(np.isnan(found) | np.isnan(verdicts))
    number = int(read.sum())
    if number < 2:
        raise ValueError(f"{number} prompts were read; a correction needs at least two")
    readers = _parts(np.where(read, verdicts, np.nan))
    judges = _parts(rates) - _parts(np.where(read, found, np.nan))  # of the sum over prompts
    if weight is None:
        weight = float(np.clip(-readers @ judges / spread, 0, 1)) if (
            spread := judges @ judges) > 0 else 0.0
    rate = float(verdicts[read].mean() + weight * (rates.mean() - found[read].mean()))
    parts = readers + weight * judges
    reach = t.ppf(0.975, number - 1) * np.sqrt(number / (number - 1) * (parts @ parts))
    low, middle, high = (float(end) for end in np.clip([rate - reach, rate, rate + reach], 0, 1))
    reader_low, reader_high = mean_interval(verdicts[read])
    return {"win_rate": middle, "low": low, "high": high, "judge_rate": float(rates.mean()),
            "reader_rate": float(verdicts[read].mean()), "reader_low": reader_low,
            "reader_high": reader_high, "weight": weight, "labelled": number, "judged": len(rates)}


def _parts(values: Floats) -> Floats:
    """What each prompt adds to the error of a mean over the prompts with a value; 0 for the rest.

    A sum of squares of these is the variance of the mean, but for n / (n - 1).
    """
    known = ~np.isnan(values)
    return np.where(known, (values - values[known].mean()) / known.sum(), 0)


def _weight(outcomes: Floats, judge: Floats, reader: Floats) -> float:
    """The weight with the smallest variance: cov(reader, judge) / ((1 + n / N) var(judge))."""
    spread = judge.var(ddof=1)
    if spread == 0:
        return 0.0
    best = np.cov(reader, judge)[0, 1] / ((1 + len(judge) / len(outcomes)) * spread)
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
