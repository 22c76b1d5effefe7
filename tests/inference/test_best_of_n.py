"""Selection, curves and their theory, against the vectors of the methods sheet and by hand."""

import itertools
import json
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import ROOT
from lib.inference.best_of_n import (
    best_of_n,
    best_of_n_curve,
    exact_kl,
    kl_bound,
    mbr_best_of_n,
    pick_probabilities,
    random_of_n,
    soft_best_of_n,
)

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
close = pytest.approx


def vector(name: str) -> tuple[dict, dict]:
    return VECTORS[name]["in"], VECTORS[name]["out"]


def test_the_curve_is_the_unbiased_one_of_the_methods_sheet() -> None:
    given_, expected = vector("4_bon_unbiased")
    proxy, gold = given_["proxy"], given_["gold"]
    assert best_of_n_curve(proxy, proxy) == close(expected["E_max_proxy_n1to6"])
    assert best_of_n_curve(proxy, gold) == close(expected["E_gold_of_proxy_argmax_n1to6"])
    assert best_of_n(proxy) == expected["argmax"]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=6),
       st.randoms())
def test_a_curve_with_tied_proxies_is_the_mean_over_subsets_and_order_independent(
        pairs: list[tuple[int, float]], random: Random) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    curve = best_of_n_curve(*zip(*pairs, strict=True))
    assert best_of_n_curve(*zip(*shuffled, strict=True)) == close(curve, abs=1e-9)
    for n in range(1, len(pairs) + 1):
        picks = []
        for subset in itertools.combinations(pairs, n):
            top = max(proxy for proxy, _ in subset)
            everyone = np.mean([gold for proxy, gold in pairs if proxy == top])
            picks.append(everyone)
        assert curve[n - 1] == close(np.mean(picks), abs=1e-9)


def test_prompts_are_rows_of_the_curve_and_large_n_does_not_overflow() -> None:
    rewards = np.random.default_rng(0).normal(size=(3, 256))
    curves = best_of_n_curve(rewards, rewards)
    assert curves.shape == (3, 256)
    assert curves[:, 0] == close(rewards.mean(1))
    assert curves[:, -1] == close(rewards.max(1))
    assert (np.diff(curves) >= -1e-12).all()
    assert curves[1] == close(best_of_n_curve(rewards[1], rewards[1]))


def test_a_curve_refuses_missing_rewards_and_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="missing"):
        best_of_n_curve([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="shape"):
        best_of_n_curve([1.0, 2.0], [1.0])


def test_ties_go_to_the_lowest_index_and_missing_rewards_are_never_chosen() -> None:
    assert best_of_n([1.0, 2.0, 2.0]) == 1
    assert best_of_n([None, -3.0, None]) == 1
    assert best_of_n([None, None]) is None
    assert best_of_n([0.5]) == 0


def test_the_random_control_is_repeatable_uniform_and_blind() -> None:
    picks = [random_of_n(4, f"prompt {index}", seed=1) for index in range(4000)]
    assert picks == [random_of_n(4, f"prompt {index}", seed=1) for index in range(4000)]
    assert picks != [random_of_n(4, f"prompt {index}", seed=2) for index in range(4000)]
    assert np.bincount(picks, minlength=4) == close(1000, rel=0.1)


def test_the_kl_bound_is_that_of_the_methods_sheet_and_never_below_the_exact_kl() -> None:
    given_, expected = vector("4_bon_kl")
    assert kl_bound(given_["n"]) == close(expected["bound"])
    assert kl_bound(1) == 0
    singles = {"binary": [0.5] * 2, "four": given_["four"], "twenty": [0.05] * 20,
               "thousand": [0.001] * 1000}
    for name, cases in expected["cases"].items():
        for n, case in cases.items():
            assert exact_kl(singles[name], int(n)) == close(case["exact_KL"], abs=1e-9)
            assert case["exact_KL"] <= kl_bound(int(n))
    for n in (0, [4, 0, 2]):
        with pytest.raises(ValueError, match="n is 0"):
            kl_bound(n)


def test_the_exact_kl_is_zero_for_one_draw_and_log_one_over_p_of_the_best_for_many() -> None:
    assert exact_kl([0.3, 0.7], 1) == close(0)
    assert exact_kl([1.0], 8) == exact_kl([0.0, 1.0], 8) == 0
    assert exact_kl([0.75, 0.25], 500) == close(np.log(4))
    for probabilities, n in (([0.5, 0.4], 2), ([1.5, -0.5], 2), ([1.0], 0)):
        with pytest.raises(ValueError, match="probabilities that sum to 1"):
            exact_kl(probabilities, n)


def test_soft_best_of_n_lies_between_sampling_and_best_of_n() -> None:
    given_, expected = vector("4_soft_bon")
    rewards = np.array(given_["reward"])
    probabilities = soft_best_of_n(rewards, given_["lam"])
    assert probabilities == close(expected["prob"])
    assert probabilities @ rewards == close(expected["expected_reward"])
    assert soft_best_of_n(rewards, 1e-4) == close([1, 0, 0, 0], abs=1e-9)
    assert soft_best_of_n(rewards, 1e9) == close(0.25)
    assert soft_best_of_n([1.0, None], 1.0).tolist() == [1, 0]
    with pytest.raises(ValueError, match="lam is 0"):
        soft_best_of_n(rewards, 0)


@pytest.mark.parametrize("beta", ["0.0", "0.05", "0.1", "0.5", "1.0", "10.0"])
def test_mbr_best_of_n_picks_as_in_the_methods_sheet(beta: str) -> None:
    given_, expected = vector("4_mbr_bon")
    pick = mbr_best_of_n(given_["reward"], given_["similarity"], float(beta))
    assert pick == expected["by_beta"][beta]["mbr_bon_argmax"]
    twice = mbr_best_of_n([given_["reward"]] * 2, [given_["similarity"]] * 2, float(beta))
    assert twice.tolist() == [pick, pick]


def test_mbr_best_of_n_never_picks_a_missing_reward() -> None:
    assert mbr_best_of_n([None, 0.1], [[1.0, 1.0], [0.0, 1.0]], 10.0) == 1


def test_what_cannot_be_picked_from_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="there are no rewards"):
        best_of_n([])
    with pytest.raises(ValueError, match="n is 0; a choice needs at least 1"):
        random_of_n(0, "p")
    with pytest.raises(ValueError, match="n is 0; a draw needs at least 1"):
        pick_probabilities([1.0, 2.0], 0)
    one_of_two = [[1.0, 2.0], [None, None]]  # of two prompts one has no reward
    for refused in (lambda: soft_best_of_n(one_of_two, 1.0),
                    lambda: mbr_best_of_n(one_of_two, np.ones((2, 2, 2)), 1.0)):
        with pytest.raises(ValueError, match="all rewards of a prompt are missing"):
            refused()
    with pytest.raises(ValueError, match=r"similarity has shape \(2,\) for rewards \(2,\)"):
        mbr_best_of_n([1.0, 2.0], [1.0, 1.0], 1.0)


def test_a_missing_reward_is_not_drawn_and_too_few_leave_no_pick() -> None:
    rewards = [[3.0, None, 1.0, 3.0], [None, None, 1.0, None]]
    chances = pick_probabilities(rewards, 2)
    assert chances[0] == close([0.5, 0, 0, 0.5])  # each pair of the three has a 3
    assert np.isnan(chances[1]).all()
    assert pick_probabilities(rewards, 1)[1] == close([0, 0, 1, 0])
