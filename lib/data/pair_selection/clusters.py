"""Clusters of prompts with equal quotas, so that no kind of prompt crowds out the others."""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def cluster_labels(embeddings: ArrayLike, clusters: int, seed: int) -> list[int]:
    """The k-means cluster of each embedding, 0 to clusters - 1; directions alone count.

    embeddings: [prompts, width]. Raises ValueError for fewer different prompts than clusters and
    for embeddings that are no numbers.
    """
    from sklearn.cluster import KMeans  # takes a second to import
    vectors = np.asarray(embeddings, dtype=float)
    if not np.isfinite(vectors).all():
        raise ValueError("an embedding is not a number; leave out prompts that the backbone cannot "
                         "read")
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    different = len(np.unique(units.round(6), axis=0))
    if clusters > different:
        raise ValueError(f"clusters is {clusters} for {different} different prompts; use at most "
                         f"{different}")
    return KMeans(clusters, n_init=4, random_state=seed).fit_predict(units).tolist()


def equal_quotas(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Indices of `count` pairs, as equally many of each label as there are, in order.

    They are drawn in turns, one of each label until a label has no more. Raises ValueError unless
    1 <= count <= pairs.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"{count} pairs are wanted of {len(labels)}; use 1 to {len(labels)}")
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index in random.Random(f"{seed}/clusters").sample(range(len(labels)), len(labels)):
        groups[labels[index]].append(index)
    turns = [(turn, place, index) for place, group in enumerate(groups.values())
             for turn, index in enumerate(group)]
    return sorted(index for _, _, index in sorted(turns)[:count])
