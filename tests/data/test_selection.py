"""Selections of pairs, each beside a random control of the same size."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from lib.data.selection import cluster_quota, curriculum_order, random_choice, random_order


def pairs(*gaps: float | None) -> list[dict[str, Any]]:
    return [{"id": str(index), "score_chosen": gap, "score_rejected": 0.0}
            for index, gap in enumerate(gaps)]


def test_a_curriculum_goes_from_wide_gaps_to_narrow_ones_or_back() -> None:
    rows = pairs(1.0, 3.0, 2.0, 3.0)
    assert [row["id"] for row in curriculum_order(rows)] == ["1", "3", "2", "0"]
    assert [row["id"] for row in curriculum_order(rows, hard_first=True)] == ["0", "2", "1", "3"]


def test_a_curriculum_needs_scores() -> None:
    with pytest.raises(ValueError, match="pair 1 has no scores"):
        curriculum_order(pairs(1.0, None))


def test_the_random_control_is_the_same_pairs_in_another_order() -> None:
    rows = pairs(*map(float, range(20)))
    shuffled = random_order(rows, 0)
    assert shuffled != rows
    assert sorted(shuffled, key=lambda row: int(row["id"])) == rows
    assert shuffled == random_order(rows, 0) != random_order(rows, 1)


def test_each_cluster_gives_equally_many_pairs_as_far_as_it_has_them() -> None:
    directions = np.repeat(np.eye(3), (30, 10, 2), axis=0)
    lengths = np.tile((0.1, 1, 30), 14)[:, None]  # the length of an embedding says nothing
    embeddings = lengths * (directions + np.random.default_rng(0).normal(0, 0.01, (42, 3)))
    rows = pairs(*[1.0] * 42)
    chosen = cluster_quota(rows, embeddings, clusters=3, n=12, seed=0)
    labels = Counter(int(directions[int(row["id"])].argmax()) for row in chosen)
    assert labels == {0: 5, 1: 5, 2: 2}
    assert chosen == cluster_quota(rows, embeddings * 7, clusters=3, n=12, seed=0)
    assert [int(row["id"]) for row in chosen] == sorted(int(row["id"]) for row in chosen)


def test_the_control_of_a_quota_has_as_many_pairs() -> None:
    rows = pairs(*[1.0] * 30)
    assert len(random_choice(rows, 12, 0)) == 12
    assert random_choice(rows, 12, 0) != random_choice(rows, 12, 1)


def test_a_wrong_number_of_embeddings_is_refused() -> None:
    with pytest.raises(ValueError, match="2 embeddings, 1 clusters and n 1 for 3 rows"):
        cluster_quota(pairs(1.0, 2.0, 3.0), np.ones((2, 4)), clusters=1, n=1, seed=0)
