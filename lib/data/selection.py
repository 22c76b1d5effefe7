"""Which pairs, and in which order: the paper's future work, each with its random control.

A selection that helps has to beat the same number of pairs, or the same pairs, taken at random.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from lib.data.schema import PreferenceRow


def curriculum_order(
    rows: Sequence[PreferenceRow], hard_first: bool = False
) -> list[PreferenceRow]:
    """Pairs from the widest score gap (easy to tell apart) to the narrowest, or the reverse.

    Equal gaps keep their order. Raises ValueError when a pair has no scores.
    """
    return sorted(rows, key=score_gap, reverse=not hard_first)


def random_order(rows: Sequence[PreferenceRow], seed: int) -> list[PreferenceRow]:
    """The control of `curriculum_order`: the same pairs, shuffled."""
    return random.Random(f"{seed}/order").sample(list(rows), len(rows))


def cluster_quota(
    rows: Sequence[PreferenceRow], embeddings: np.ndarray, clusters: int, n: int, seed: int
) -> list[PreferenceRow]:
    """n pairs, as equally many of each k-means cluster as there are, in their old order.

    embeddings: [rows, dimensions], compared by direction. Raises ValueError for a wrong shape, n,
    or number of clusters.
    """
    if len(embeddings) != len(rows) or not 1 <= clusters <= len(rows) or not 1 <= n <= len(rows):
        raise ValueError(f"{len(embeddings)} embeddings, {clusters} clusters and n {n} for "
                         f"{len(rows)} rows; give one embedding a row, and 1 to {len(rows)} each")
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    labels = KMeans(clusters, n_init=4, random_state=seed).fit_predict(unit)
    taken = set(_equal_quota(labels.tolist(), n, random.Random(f"{seed}/clusters")))
    return [row for index, row in enumerate(rows) if index in taken]


def random_choice(rows: Sequence[PreferenceRow], n: int, seed: int) -> list[PreferenceRow]:
    """The control of `cluster_quota`: n pairs at random, in their old order."""
    taken = set(random.Random(f"{seed}/choice").sample(range(len(rows)), n))
    return [row for index, row in enumerate(rows) if index in taken]


def score_gap(row: PreferenceRow) -> float:
    """Chosen score minus rejected score. Raises ValueError when one of them is missing."""
    if row["score_chosen"] is None or row["score_rejected"] is None:
        raise ValueError(f"pair {row['id']} has no scores; a curriculum needs both of every pair")
    return row["score_chosen"] - row["score_rejected"]


def _equal_quota(labels: Sequence[int], n: int, generator: random.Random) -> list[int]:
    """n indices, one of each label in turn until a label has no more."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index in generator.sample(range(len(labels)), len(labels)):
        groups[labels[index]].append(index)
    turns = [(turn, label, index) for label, group in groups.items()
             for turn, index in enumerate(group)]
    return [index for _, _, index in sorted(turns)[:n]]
