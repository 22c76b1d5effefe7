"""The order in which pairs are trained on, and its random control."""

import random

import numpy as np
from numpy.typing import ArrayLike


def easy_first(gaps: ArrayLike) -> list[int]:
    """Indices of pairs from the widest gap, which is easy to tell apart, to the narrowest.

    gaps: of scores, or of the reference's summed log-probabilities, chosen minus rejected, [pairs].
    Equal gaps keep their order. Raises ValueError for a gap that is no number.
    """
    gaps = np.asarray(gaps, dtype=float)
    if np.isnan(gaps).any():
        raise ValueError(f"pair {int(np.isnan(gaps).argmax())} has no gap; a curriculum needs one "
                         "of every pair")
    return np.argsort(-gaps, kind="stable").tolist()


def random_order(pairs: int, seed: int) -> list[int]:
    """The control of a curriculum: all indices of `pairs`, shuffled once."""
    return random.Random(f"{seed}/order").sample(range(pairs), pairs)
