"""Filters of pairs, and the random control of any filter."""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.data.schema import PreferenceRow


def score_gaps(rows: Sequence[PreferenceRow], setting: str) -> np.ndarray:
    """Chosen score minus rejected score of each pair, [pairs].

    Raises ValueError where a pair lacks the scores that `setting` needs.
    """
    gaps = []
    for row in rows:
        chosen, rejected = row["score_chosen"], row["score_rejected"]
        if chosen is None or rejected is None:
            raise ValueError(f"pair {row['id']} has no scores; {setting} needs score_chosen and "
                             "score_rejected on every pair: add them, or do without it")
        gaps.append(chosen - rejected)
    return np.array(gaps)


def margin_filter(gaps: ArrayLike, margin: float) -> list[int]:
    """Indices of the pairs whose scores differ by at least `margin`, in order.

    gaps: chosen minus rejected, [pairs]. Raises ValueError where no pair stays.
    """
    gaps = np.asarray(gaps, dtype=float)
    kept = np.flatnonzero(gaps >= margin).tolist()
    if not kept:
        widest = f"{gaps.max():g}" if len(gaps) else "none, for there is no pair"
        raise ValueError(f"no pair's scores differ by margin={margin:g}; the widest gap is "
                         f"{widest}, set a smaller margin")
    return kept


def fdpo_filter(generated: ArrayLike, chosen: ArrayLike, threshold: float = 0.0) -> list[int]:
    """Indices of the pairs whose chosen answer the model's own answer does not reach, in order.

    A pair stays if score(own answer) - score(chosen answer) < threshold (Morimura et al. 2024,
    filtered DPO). generated, chosen: scores of one reward model, [pairs]; generated may be
    [pairs, samples], whose mean counts. A pair without a score, NaN, does not stay. Raises
    ValueError for other shapes and where no pair stays.
    """
    generated, chosen = (np.asarray(scores, dtype=float) for scores in (generated, chosen))
    if generated.ndim not in (1, 2) or chosen.shape != generated.shape[:1]:
        raise ValueError(f"generated has the shape {generated.shape} and chosen {chosen.shape}; "
                         "give one score of a chosen answer, and one or several of own ones, a "
                         "pair")
    if not np.isfinite(generated).any() or not np.isfinite(chosen).any():
        raise ValueError("the reward model scored no answer, so no pair can be filtered; do "
                         "without fdpo_threshold, or use a selector that answers")
    difference = _means(generated.reshape(len(chosen), -1)) - chosen
    kept = np.flatnonzero(difference < threshold).tolist()
    if not kept:
        raise ValueError(f"no chosen answer scores more than its own answer with fdpo_threshold="
                         f"{threshold:g}; the least difference is {np.nanmin(difference):g}, set a "
                         "larger threshold")
    return kept


def _means(scores: np.ndarray) -> np.ndarray:
    """Mean of each row's finite scores; NaN for a row without one."""
    known = np.isfinite(scores)
    totals, counts = np.where(known, scores, 0.0).sum(1), known.sum(1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def random_subset(pairs: int, kept: int, seed: int) -> list[int]:
    """The control of a filter: `kept` indices of `pairs` at random, in order."""
    return sorted(random.Random(f"{seed}/subset").sample(range(pairs), kept))
