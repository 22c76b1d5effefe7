"""How much two judges share: correlations of their scores within a prompt.

Scores of one prompt's answers are compared with that prompt's mean, so that easy and hard prompts
do not make judges alike. The partial correlation takes off what both share with the reader; of two
judges whose errors have nothing in common, none is left. Intervals resample prompts.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.statistics.bootstrap import bootstrap_means
from lib.analysis.statistics.outcomes import Floats
from lib.runtime.files import Row


def within_prompt_moments(scores: ArrayLike) -> Floats:
    """Sums of products of each two judges' centred scores: [prompts, judges, judges].

    scores: [judges, prompts, answers]. An answer that some judge could not score (NaN) counts for
    none of them; a prompt without any answer is NaN.
    """
    values = np.array(scores, dtype=float)
    known = ~np.isnan(values).any(axis=0)  # [prompts, answers]
    counts = known.sum(axis=1)
    values = np.where(known, values, 0)
    values -= values.sum(axis=2, keepdims=True) / np.maximum(counts, 1)[:, None]
    values = np.where(known, values, 0)
    moments = np.einsum("ipk,jpk->pij", values, values)
    return np.where(counts[:, None, None] > 0, moments, np.nan)


def correlations(moments: ArrayLike) -> Floats:
    """Correlations from sums or means of moments, [..., judges, judges]; NaN where one is flat."""
    moments = np.asarray(moments, dtype=float)
    spread = np.sqrt(np.diagonal(moments, axis1=-2, axis2=-1))
    scale = spread[..., :, None] * spread[..., None, :]
    found = np.divide(moments, scale, out=np.full_like(moments, np.nan), where=scale > 0)
    return np.clip(found, -1, 1)


def partial_correlation(both: ArrayLike, first: ArrayLike, second: ArrayLike) -> Floats:
    """Correlation `both` of two scores, given a third that has `first` and `second` with them.

    NaN where the third leaves nothing of one of them. Elementwise.
    """
    both, first, second = (np.asarray(each, dtype=float) for each in (both, first, second))
    left = np.sqrt((1 - first**2) * (1 - second**2))
    return np.divide(both - first * second, left, out=np.full_like(left, np.nan), where=left > 0)


def correlation_rows(scores: Mapping[str, ArrayLike], reader: str, resamples: int = 1000,
                     seed: int = 0) -> list[Row]:
    """Each two judges' correlation, and its part that the reader does not share.

    scores: judge -> [prompts, answers], the reader's among them. Rows {"judge_a", "judge_b",
    "prompts", "answers_scored", "correlation", "ci_low", "ci_high", "partial", "partial_low",
    "partial_high"}; the partial ones are None beside the reader itself, all are None for a judge
    that scores all answers of every prompt alike.
    """
    names = list(scores)
    stack = np.stack([np.asarray(each, dtype=float) for each in scores.values()])
    moments = within_prompt_moments(stack)
    moments = moments[~np.isnan(moments).any(axis=(1, 2))]
    counts = {"prompts": len(moments),
              "answers_scored": int((~np.isnan(stack).any(axis=0)).sum())}
    draws = bootstrap_means(moments.reshape(len(moments), -1), resamples, seed, np.float64)
    found = correlations(np.concatenate([  # the estimate, then its resamples
        moments.mean(axis=0)[None], draws.reshape(-1, len(names), len(names))]))
    return [{"judge_a": names[one], "judge_b": names[other]} | counts
            | _pair(found, one, other, names.index(reader))
            for one, other in combinations(range(len(names)), 2)]


def _pair(found: Floats, one: int, other: int, reader: int) -> Row:
    """One pair's keys from [1 + resamples, judges, judges] correlations, the estimate first."""
    both = found[:, one, other]
    row = _with_ends("correlation", "ci", both)
    if reader in (one, other):
        return row | dict.fromkeys(("partial", "partial_low", "partial_high"))
    return row | _with_ends("partial", "partial", partial_correlation(
        both, found[:, one, reader], found[:, other, reader]))


def _with_ends(name: str, prefix: str, values: Floats) -> Row:
    """An estimate with the interval of its resamples, [1 + resamples]; None where it is NaN."""
    if np.isnan(values[0]):
        return dict.fromkeys((name, f"{prefix}_low", f"{prefix}_high"))
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {name: float(values[0]), f"{prefix}_low": float(low), f"{prefix}_high": float(high)}
