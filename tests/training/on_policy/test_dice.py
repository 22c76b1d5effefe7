"""DICE's choices against the vector and by hand."""

import json

import numpy as np
import pytest

from lib import ROOT
from lib.training.on_policy.dice import (
    best_and_worst,
    length_coefficient,
    length_regularised,
    mean_length_gap,
    replay_counts,
    replay_mix,
)

VECTOR = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["3_dice"]
RATIOS = np.subtract(VECTOR["in"]["logp_policy"], VECTOR["in"]["logp_ref"])
LENGTHS = np.array(VECTOR["in"]["lengths"])


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, "alpha0"), (0.042, "at_full")])
def test_best_and_worst_agree_with_the_vector(alpha: float, expected: str) -> None:
    scores = length_regularised(RATIOS, LENGTHS, alpha)
    chosen, rejected = best_and_worst(scores)
    assert {"chosen": chosen.tolist(), "rejected": rejected.tolist(),
            "mean_len_diff": mean_length_gap(scores, LENGTHS)} == VECTOR["out"][expected]


def test_the_length_coefficient_agrees_with_the_vector() -> None:
    assert length_coefficient(RATIOS, LENGTHS) == VECTOR["out"]["alpha_full_grid"]


def test_without_lengths_in_the_scores_the_coefficient_is_zero() -> None:
    """Best answers as long as worst ones already: the smallest alpha that does it."""
    assert length_coefficient([[1.0, 0.0], [0.0, 1.0]], [[5, 9], [5, 9]]) == 0.0


def test_the_coefficient_is_the_best_of_the_grid_not_the_first_valley() -> None:
    random = np.random.default_rng(4)
    lengths = random.integers(5, 200, size=(60, 6))
    ratios = 0.05 * lengths + random.normal(size=(60, 6))
    grid = np.arange(100) / 1000
    gaps = [abs(mean_length_gap(length_regularised(ratios, lengths, alpha), lengths))
            for alpha in grid]
    assert length_coefficient(ratios, lengths, grid) == grid[np.argmin(gaps)]
    assert min(gaps) < gaps[0] / 10


def test_a_left_out_answer_is_neither_best_nor_worst() -> None:
    chosen, rejected = best_and_worst([[np.nan, 1.0, 2.0, 0.5], [3.0, np.nan, np.nan, 4.0]])
    assert (chosen.tolist(), rejected.tolist()) == ([2, 3], [3, 0])


@pytest.mark.parametrize("scores", [[[1.0]], [[1.0, np.nan]], [[np.nan, np.nan]]])
def test_a_prompt_with_one_score_is_refused(scores: list) -> None:
    with pytest.raises(ValueError, match="needs at least 2 of each prompt"):
        best_and_worst(scores)


def test_replay_keeps_the_size_and_takes_its_share() -> None:
    counts = VECTOR["out"]["mix_counts_gamma_half_total_10"]
    assert replay_counts(10, 0.5) == (counts["n_generated"], counts["n_offline"])
    mixed = replay_mix([f"new{i}" for i in range(10)], [f"old{i}" for i in range(30)], 0.5, 0)
    assert len(set(mixed)) == 10
    assert sum(name.startswith("old") for name in mixed) == 5
    assert mixed == replay_mix([f"new{i}" for i in range(10)], [f"old{i}" for i in range(30)],
                               0.5, 0)


def test_no_replay_is_the_new_examples_and_too_few_old_ones_are_all_taken() -> None:
    new = list(range(10))
    assert replay_mix(new, [90, 91], 0.0, 0) == new
    mixed = replay_mix(new, [90, 91], 0.5, 0)
    assert len(mixed) == 10
    assert {90, 91} < set(mixed)
    for share in (1.5, -0.1):
        with pytest.raises(ValueError, match=f"share of replayed examples is {share}; use 0 to 1"):
            replay_mix(new, [], share, 0)
