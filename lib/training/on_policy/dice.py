"""DICE (Chen et al. 2024): a DPO model ranks its own new answers by its implicit rewards.

What the last round's DPO gained over its own reference is the reward of this round, so no reward
model is asked; a length term and a share of old pairs (replay) keep the loop from drifting.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

Example = TypeVar("Example")
ALPHAS = np.arange(1000) / 1000  # the authors' grid, in nats a unit of length


def length_regularised(log_ratios: ArrayLike, lengths: ArrayLike, alpha: float) -> np.ndarray:
    """log(policy / previous) - alpha * length: DICE's score, without beta, as its authors' code.

    alpha is in nats a unit of `lengths`; a score times beta would need alpha times beta.
    """
    return np.asarray(log_ratios, float) - alpha * np.asarray(lengths, float)


def best_and_worst(scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Indices of each prompt's highest and lowest score, the first of equal ones, [prompts] each.

    scores: [prompts, K], NaN for an answer that may be neither. Raises ValueError for a prompt with
    fewer than two scores.
    """
    scores = np.asarray(scores, float)
    counts = (~np.isnan(scores)).sum(-1)
    if scores.ndim != 2 or not len(scores) or counts.min() < 2:
        raise ValueError(f"a prompt has {counts.min() if counts.size else 0} scored answers; "
                         "best against worst needs at least 2 of each prompt")
    return np.nanargmax(scores, -1), np.nanargmin(scores, -1)


def mean_length_gap(scores: ArrayLike, lengths: ArrayLike) -> float:
    """Mean over prompts of how much longer the best answer is than the worst one."""
    lengths, places = np.asarray(lengths, float), np.arange(len(lengths))
    best, worst = best_and_worst(scores)
    return float((lengths[places, best] - lengths[places, worst]).mean())


def length_coefficient(log_ratios: ArrayLike, lengths: ArrayLike,
                       alphas: Sequence[float] | np.ndarray = ALPHAS) -> float:
    """The alpha with which best answers are, on average, as long as worst ones, [prompts, K] each.

    The smallest of equals. All of the grid is tried: the authors stop early, at what may be a local
    minimum.
    """
    gaps = [abs(mean_length_gap(length_regularised(log_ratios, lengths, alpha), lengths))
            for alpha in alphas]
    return float(alphas[int(np.argmin(gaps))])


def replay_counts(total: int, share: float) -> tuple[int, int]:
    """How many of `total` examples are new and how many are replayed, a `share` in [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"the share of replayed examples is {share}; use 0 to 1")
    replayed = round(share * total)
    return total - replayed, replayed


def replay_mix(new: Sequence[Example], old: Sequence[Example], share: float,
               seed: int) -> list[Example]:
    """As many examples as `new` has, a `share` of them drawn from `old`, or all that it has.

    share 0 gives `new` as it is.
    """
    kept, replayed = replay_counts(len(new), share)
    kept += max(0, replayed - len(old))
    random = np.random.default_rng(seed)
    drawn = [sorted(random.permutation(len(part))[:count])
             for part, count in ((new, kept), (old, replayed))]
    return [part[index] for part, places in zip((new, old), drawn, strict=True)
            for index in places]
