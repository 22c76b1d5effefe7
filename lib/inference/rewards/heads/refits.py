"""A head fitted again on resampled prompts: how far its verdicts hang on the ones it saw.

Ridge and standardisation are the head's own, so that a refit takes a fraction of a second.
"""

from dataclasses import replace

import numpy as np

from lib.inference.rewards.heads.head import Head, standard_differences, usable_pairs


def refit(head: Head, features: np.ndarray, pairs: np.ndarray, groups: np.ndarray,
          gaps: np.ndarray, number: int = 50, seed: int = 0) -> list[Head]:
    """The head fitted `number` times on as many prompts, drawn with replacement.

    features: [answers, width], pairs [pairs, 2] (better first, ties too), groups: prompt of each
    answer, and gaps [pairs] of the set that the head was fitted on, as in `fit_head`.
    """
    fitting = head.options.fitting
    pairs, gaps = usable_pairs(features, pairs, gaps, fitting)
    differences = standard_differences(features, pairs, head.mean, head.deviation)
    prompts, place = np.unique(groups[pairs[:, 0]], return_inverse=True)
    targets, random = head.options.targets(gaps), np.random.default_rng(seed)
    heads = []
    for _ in range(number):
        drawn = np.bincount(random.integers(len(prompts), size=len(prompts)),
                            minlength=len(prompts))[place]
        kept = drawn > 0
        weights = fitting.fit(differences[kept], head.ridge, targets[kept],
                              drawn[kept].astype(np.float64))
        heads.append(replace(head, weights=weights.astype(np.float32)))
    return heads
