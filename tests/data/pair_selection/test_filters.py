"""Choices of pairs and of their order, each beside its random control."""

import json
from typing import Any

import numpy as np
import pytest

from lib import ROOT
from lib.data.pair_selection.clusters import cluster_labels, equal_quotas
from lib.data.pair_selection.curriculum import easy_first, random_order
from lib.data.pair_selection.filters import fdpo_filter, margin_filter, random_subset, score_gaps
from lib.data.pair_selection.noise import flip_labels

FDPO = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["3_fdpo"]
NONE = float("nan")


def pairs(*gaps: float | None) -> list[dict[str, Any]]:
    return [{"id": str(index), "prompt": [{"role": "user", "content": f"question {index}"}],
             "chosen": f"good {index}", "rejected": f"bad {index}", "score_chosen": gap,
             "score_rejected": 0.0, "source": "a"} for index, gap in enumerate(gaps)]


def test_filtered_dpo_agrees_with_the_vector_and_drops_a_tie() -> None:
    given = FDPO["in"]
    assert fdpo_filter(given["reward_generated"], given["reward_chosen"], given["threshold"]) == [
        index for index, kept in enumerate(FDPO["out"]["keep"]) if kept]


def test_a_threshold_admits_own_answers_that_are_better_by_less() -> None:
    generated, chosen = np.array([0.5, 1.0, -0.3]), np.array([0.2, 1.5, -0.3])
    assert fdpo_filter(generated, chosen, 0.4) == [0, 1, 2]
    assert fdpo_filter(generated, chosen, 1e-9) == [1, 2]
    assert fdpo_filter(generated, chosen, -0.4) == [1]


def test_of_several_own_answers_the_mean_of_the_scored_ones_counts() -> None:
    generated = [[0.0, 3.0], [0.0, 1.0], [NONE, 0.5], [NONE, NONE]]
    assert fdpo_filter(generated, [1.0, 1.0, 1.0, 1.0]) == [1, 2]


def test_a_pair_without_a_score_does_not_stay() -> None:
    assert fdpo_filter([0.0, NONE, 0.0], [1.0, 1.0, NONE]) == [0]


@pytest.mark.parametrize(("generated", "chosen", "message"), [
    ([NONE, NONE], [1.0, 1.0], "the reward model scored no answer"),
    ([1.0, 1.0], [NONE, NONE], "the reward model scored no answer"),
    ([], [], "the reward model scored no answer"),
    ([2.0, 3.0], [1.0, 2.5], "fdpo_threshold=0; the least difference is 0.5"),
    ([1.0], [1.0, 2.0], r"generated has the shape \(1,\) and chosen \(2,\)")])
def test_scores_that_decide_nothing_are_one_sentence(generated: list, chosen: list,
                                                    message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        fdpo_filter(generated, chosen)
    assert "\n" not in str(error.value)


def test_a_margin_keeps_gaps_from_it_on() -> None:
    assert margin_filter(score_gaps(pairs(1.0, 3.0, 2.0), "margin"), 2.0) == [1, 2]


def test_all_ties_or_no_scores_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="by margin=0.5; the widest gap is 0, set a smaller"):
        margin_filter([0.0, 0.0], 0.5)
    with pytest.raises(ValueError, match="pair 1 has no scores; margin needs"):
        score_gaps(pairs(1.0, None), "margin")


def test_a_curriculum_goes_from_wide_gaps_to_narrow_ones_and_equal_ones_keep_their_order() -> None:
    assert easy_first([1.0, 3.0, -2.0, 3.0]) == [1, 3, 0, 2]
    with pytest.raises(ValueError, match="pair 1 has no gap"):
        easy_first([1.0, NONE])


def test_each_cluster_gives_equally_many_pairs_as_far_as_it_has_them() -> None:
    directions = np.repeat(np.eye(3), (30, 10, 2), axis=0)
    lengths = np.tile((0.1, 1, 30), 14)[:, None]  # the length of an embedding says nothing
    embeddings = lengths * (directions + np.random.default_rng(0).normal(0, 0.01, (42, 3)))
    labels = cluster_labels(embeddings, 3, seed=0)
    taken = equal_quotas(labels, 12, seed=0)
    counts = np.bincount(directions[taken].argmax(1))
    assert counts.tolist() == [5, 5, 2]
    assert taken == sorted(set(taken)) == equal_quotas(cluster_labels(7 * embeddings, 3, 0), 12, 0)
    assert equal_quotas(labels, 42, seed=0) == list(range(42))


@pytest.mark.parametrize(("embeddings", "message"), [
    (np.ones((5, 2)), "clusters is 2 for 1 different prompts; use at most 1"),
    (np.full((5, 2), np.nan), "an embedding is not a number")])
def test_prompts_that_do_not_differ_make_no_clusters(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_labels(embeddings, 2, seed=0)


def test_a_control_has_as_many_pairs_or_the_same_ones_in_another_order() -> None:
    assert len(set(random_subset(30, 12, 0))) == 12
    assert random_subset(30, 12, 0) == sorted(random_subset(30, 12, 0)) != random_subset(30, 12, 1)
    assert random_subset(30, 30, 0) == list(range(30))
    assert sorted(random_order(30, 0)) == list(range(30)) != random_order(30, 0)
    assert random_order(30, 0) != random_order(30, 1)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 2), (0.125, 2), (0.5, 10), (1, 20)])
def test_exactly_the_share_of_labels_is_flipped(share: float, count: int) -> None:
    rows = pairs(*[2.0] * 20)
    flipped, ids = flip_labels(rows, share, seed=0)
    assert len(ids) == count == sum(row["chosen"].startswith("bad") for row in flipped)
    assert {row["id"] for row in flipped if row["chosen"].startswith("bad")} == set(ids)
    assert all({row["chosen"], row["rejected"]} == {before["chosen"], before["rejected"]}
               and row["score_chosen"] == 2.0 for row, before in zip(flipped, rows, strict=True))


def test_a_larger_share_flips_the_same_labels_and_more_and_a_seed_others() -> None:
    rows = pairs(*[1.0] * 50)
    few, many, others = (set(flip_labels(rows, share, seed)[1])
                         for share, seed in ((0.1, 0), (0.3, 0), (0.1, 1)))
    assert few < many
    assert few != others


def test_a_flip_takes_token_ids_and_cut_off_marks_along() -> None:
    row = pairs(1.0)[0] | {"chosen_ids": [1], "rejected_ids": [2, 3], "prompt_ids": [0],
                           "cut_off_chosen": False, "cut_off_rejected": True}
    flipped, = flip_labels([row], 1.0, 0)[0]
    assert (flipped["chosen_ids"], flipped["rejected_ids"]) == ([2, 3], [1])
    assert (flipped["cut_off_chosen"], flipped["cut_off_rejected"]) == (True, False)
    assert flip_labels([flipped], 1.0, 0)[0] == [row]
    with pytest.raises(ValueError, match="label_noise is 1.5; use a share of at least 0"):
        flip_labels([row], 1.5, 0)
