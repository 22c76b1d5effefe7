"""A rule's pick among n candidates: the methods sheet, limit cases, and what may be missing."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import ROOT
from lib.inference.best_of_n import best_of_n, kl_best_of_n
from lib.inference.selection import MOST_DRAWS, Offer, chances, draws_of, pick
from lib.inference.systems import System

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
GIVEN = VECTORS["4_mbr_bon"]["in"]


def system(rule: str, coefficient: float | None = None, n: int = 4) -> System:
    return System("dpo", rule, n, 0.6, coefficient)


def offer_of(scores: list[float], logps: list[float] | None = None,
             similarity: list[list[float]] | None = None) -> Offer:
    size = len(scores)
    return Offer(np.array(scores, float),
                 np.array(logps if logps else [np.nan] * size, float),
                 np.eye(size) if similarity is None else np.array(similarity))


SHEET = offer_of(GIVEN["reward"], GIVEN["logprob"], GIVEN["similarity"])
SPREAD = float(np.std(GIVEN["reward"]))  # the sheet's coefficients are in raw rewards


@pytest.mark.parametrize("beta", ["0.0", "0.05", "0.1", "0.5", "1.0", "10.0"])
def test_regularised_rules_pick_as_in_the_methods_sheet(beta: str) -> None:
    expected = VECTORS["4_mbr_bon"]["out"]["by_beta"][beta]
    assert kl_best_of_n(GIVEN["reward"], GIVEN["logprob"],
                        float(beta)) == expected["kl_bon_argmax"]
    for rule in ("mbr", "klbon"):
        found = pick(system(rule, float(beta) / SPREAD), SHEET, "p", 0)
        assert found == expected[f"{rule.removesuffix('bon')}_bon_argmax"]


def test_soft_best_of_n_draws_with_the_chances_of_the_methods_sheet() -> None:
    vector = VECTORS["4_soft_bon"]
    soft = system("softbon", vector["in"]["lam"] / SPREAD)
    found = chances(soft, SHEET, np.arange(4)[None])[0]
    assert found == pytest.approx(vector["out"]["prob"], abs=1e-9)
    picks = [pick(soft, SHEET, f"prompt {number}", 0) for number in range(4000)]
    assert np.bincount(picks, minlength=4) / 4000 == pytest.approx(found, abs=0.03)
    assert picks[:50] == [pick(soft, SHEET, f"prompt {number}", 0) for number in range(50)]
    assert picks[:50] != [pick(soft, SHEET, f"prompt {number}", 1) for number in range(50)]


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True))
def test_without_their_coefficient_the_rules_are_best_of_n_or_plain_sampling(
        scores: list[int]) -> None:
    offer, draws = offer_of(scores, scores), np.arange(len(scores))[None]
    best = pick(system("bon"), offer, "p", 0)
    assert best == best_of_n(scores)
    assert {pick(system(rule, 0), offer, "p", 0) for rule in ("mbr", "klbon")} == {best}
    assert chances(system("softbon", 1e12), offer, draws)[0] == pytest.approx(1 / len(scores))
    assert chances(system("softbon", 1e-12), offer, draws)[0].argmax() == best
    assert chances(system("random"), offer, draws)[0] == pytest.approx(1 / len(scores))


@pytest.mark.parametrize("rule", ["bon", "softbon", "mbr", "klbon"])
def test_a_rules_unit_is_the_spread_within_the_prompt(rule: str) -> None:
    draws = np.arange(4)[None]
    scaled = Offer(1000 * SHEET.scores - 7, SHEET.logps, SHEET.similarity)
    assert chances(system(rule), scaled, draws) == pytest.approx(
        chances(system(rule), SHEET, draws))


@pytest.mark.parametrize("level", [0.1, -0.1, -1e6])
def test_scores_that_differ_by_rounding_alone_are_equal(level: float) -> None:
    offer = offer_of([level, np.nextafter(level, 0), level], [-1.0, -5.0, -2.0])
    assert chances(system("softbon"), offer, np.arange(3)[None])[0] == pytest.approx([1 / 3] * 3)
    assert pick(system("klbon"), offer, "p", 0) == 0  # by its log-probability alone


@pytest.mark.parametrize("rule", ["bon", "softbon", "mbr", "klbon"])
def test_every_draw_has_its_own_pick(rule: str) -> None:
    draws = draws_of(4, 2)
    together = chances(system(rule), SHEET, draws)
    assert together.sum(-1) == pytest.approx(np.ones(len(draws)))
    for draw, found in zip(draws, together, strict=True):
        assert found == pytest.approx(chances(system(rule), SHEET, draw[None])[0])


@pytest.mark.parametrize("rule", ["bon", "softbon", "mbr", "klbon"])
def test_equal_candidates_share_their_chance_and_a_single_pick_takes_the_first(rule: str) -> None:
    offer = offer_of([1.0, 1.0, 1.0], [-5.0] * 3, [[1.0] * 3] * 3)
    assert chances(system(rule), offer, np.arange(3)[None])[0] == pytest.approx([1 / 3] * 3)
    if rule != "softbon":
        assert pick(system(rule), offer, "p", 0) == 0


@pytest.mark.parametrize("rule", ["bon", "softbon", "mbr", "klbon"])
def test_a_missing_score_is_never_picked_and_without_any_there_is_no_pick(rule: str) -> None:
    nan = float("nan")
    offer = offer_of([nan, 0.1, nan], [-1.0, -2.0, -3.0], [[1.0] * 3] * 3)
    assert pick(system(rule), offer, "p", 0) == 1
    assert pick(system(rule), offer_of([nan, nan], [-1.0, -1.0]), "p", 0) is None


def test_only_the_kl_rule_needs_log_probabilities() -> None:
    without = offer_of([0.0, 1.0])
    assert pick(system("klbon"), without, "p", 0) is None
    assert pick(system("mbr"), without, "p", 0) == 1
    half = offer_of([0.0, 1.0], [-3.0, float("nan")])
    assert pick(system("klbon"), half, "p", 0) == 0


def test_few_draws_are_all_of_them_and_many_are_a_seeded_sample() -> None:
    assert draws_of(6, 3).tolist() == [list(draw) for draw in combinations(range(6), 3)]
    assert draws_of(2, 3).shape == (0, 3)
    assert draws_of(3, 3).tolist() == [[0, 1, 2]]
    many = draws_of(64, 4)
    assert many.shape == (MOST_DRAWS, 4)
    assert (np.diff(many, axis=1) > 0).all()  # no candidate twice
    assert np.bincount(many.ravel(), minlength=64) / MOST_DRAWS == pytest.approx(4 / 64, abs=0.02)


def test_a_random_sample_of_draws_is_as_near_the_exact_chances_as_it_says() -> None:
    random = np.random.default_rng(0)
    offer = offer_of(random.normal(size=24).tolist())  # 10,626 draws of 4
    soft = system("softbon")

    def mean(draws: np.ndarray) -> np.ndarray:
        found = np.zeros(24)
        np.add.at(found, draws, chances(soft, offer, draws))
        return found / len(draws)
    exact = mean(np.array(list(combinations(range(24), 4))))
    assert np.abs(mean(draws_of(24, 4)) - exact).max() < 3 * 0.5 / np.sqrt(MOST_DRAWS)


def test_kl_best_of_n_refuses_unequal_shapes_and_takes_prompts_as_rows() -> None:
    assert kl_best_of_n([[1.0, 0.0], [0.0, 1.0]], [[-9.0, -1.0]] * 2, 1.0).tolist() == [1, 1]
    assert kl_best_of_n([None, 0.1], [-1.0, -50.0], 10.0) == 1
    with pytest.raises(ValueError, match="logps has shape"):
        kl_best_of_n([1.0, 2.0], [1.0], 0.1)
