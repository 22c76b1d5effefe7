"""A head fitted again on resampled prompts: how far its verdicts hang on the ones it saw.

Ridge and standardisation are the head's own, so that a refit takes a fraction of a second.
"""

from dataclasses import replace

import numpy as np

from lib.inference.rewards.heads.bradley_terry import fit_weights
from lib.inference.rewards.heads.head import Head


def refit(head: Head, features: np.ndarray, pairs: np.ndarray, groups: np.ndarray,
          gaps: np.ndarray, number: int = 50, seed: int = 0) -> list[Head]:
    """The head fitted `number` times on as many prompts, drawn with replacement.

    features: [answers, width], pairs [pairs, 2] (better first), groups: prompt of each answer, and
    gaps [pairs] of the set that the head was fitted on, as in `fit_head`.
    """
    usable = np.isfinite(features).all(1)[pairs].all(1)
    pairs, gaps = pairs[usable], gaps[usable]
    standard = ((features - head.mean) / head.deviation).astype(np.float64)
    differences = standard[pairs[:, 0]] - standard[pairs[:, 1]]  # [pairs, width]
    prompts, place = np.unique(groups[pairs[:, 0]], return_inverse=True)
    margins, random = head.options.margin * gaps, np.random.default_rng(seed)
    heads = []
    for _ in range(number):
        drawn = np.bincount(random.integers(len(prompts), size=len(prompts)),
                            minlength=len(prompts))[place]
        kept = drawn > 0
        weights = fit_weights(differences[kept], head.ridge, margins[kept],
                              drawn[kept].astype(np.float64), head.weights.astype(np.float64))
        heads.append(replace(head, weights=weights.astype(np.float32)))
    return heads
