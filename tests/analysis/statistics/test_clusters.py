"""Intervals of correlated values cover the truth, and the two that others are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint

from lib.analysis.statistics.clusters import (
    clustered_mean_interval,
    clustered_share_interval,
    seed_spread,
)
from lib.analysis.statistics.intervals import difference_interval, wilson_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.prediction_powered import prediction_powered_win_rate

Floats = np.ndarray
CASES = [(n, rate) for n in (50, 200, 800) for rate in (0.5, 0.62, 0.935)]
SHARES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40)


def outcomes(chance: Floats, rate: Floats | float, ties: float) -> Floats:
    """1, 0.5 or 0 with mean `rate`, from uniform draws."""
    return np.where(chance < rate - ties / 2, 1, np.where(chance < rate + ties / 2, 0.5, 0))


def of_groups(shape: tuple[int, ...], group: Floats, random: np.random.Generator) -> Floats:
    """Uniform draws that are alike within a group; group is added to what is each one's own."""
    return norm.cdf(np.sqrt(0.3) * group + np.sqrt(0.7) * random.normal(size=shape))


@pytest.mark.parametrize(("n", "rate"), CASES)
def test_the_interval_of_clustered_pairs_covers_the_truth(n: int, rate: float) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(600):
        prompts = np.repeat(np.arange(n), random.integers(1, 7, size=n))
        chance = of_groups(prompts.shape, random.normal(size=n)[prompts], random)
        low, high = clustered_share_interval(outcomes(chance, rate, 0.1), prompts)
        held.append(low <= rate <= high)
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("apart", [0.0, 0.015])
@pytest.mark.parametrize(("n", "rate"), CASES)
def test_the_interval_over_three_seeds_covers_the_truth(n: int, rate: float,
                                                        apart: float) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(600):
        chance = of_groups((3, n), random.normal(size=n), random)
        rates = rate + apart * random.normal(size=(3, 1))
        found = seed_spread(outcomes(chance, rates, 0.04))
        held.append(found["low"] <= rate <= found["high"])
    assert 0.915 <= np.mean(held) <= 0.985


@pytest.mark.parametrize(("n", "rate"), CASES[:6])
def test_the_length_controlled_interval_covers_the_truth(n: int, rate: float) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(300):
        wins = outcomes(random.random(n), rate, 0.1)  # of a judge without a taste for length
        found = length_controlled_win_rate(wins, *random.normal(100, 30, size=(2, n)))
        held.append(found.low <= rate <= found.high)
    assert 0.925 <= np.mean(held) <= 0.975


@pytest.mark.parametrize("rate", [0.5, 0.62, 0.8])
def test_the_corrected_interval_covers_the_truth_for_few_judged_prompts(rate: float) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(300):
        truth = outcomes(random.random(184), rate, 0.1)
        flattering = np.where(random.random(184) < 0.4, 1.0, truth)
        found = prediction_powered_win_rate(flattering[120:], flattering[:120], truth[:120], 1.0)
        held.append(found["low"] <= rate <= found["high"])
    assert 0.925 <= np.mean(held) <= 0.985


@settings(deadline=None)
@given(SHARES)
def test_the_interval_of_shares_holds_their_mean_and_their_order_does_not_matter(
        shares: list[float]) -> None:
    clusters = np.arange(len(shares)) // 3
    low, high = clustered_share_interval(shares, clusters)
    assert 0 <= low <= np.mean(shares) + 1e-12
    assert np.mean(shares) - 1e-12 <= high <= 1
    assert clustered_share_interval(shares[::-1], clusters[::-1]) == pytest.approx((low, high))


def test_wins_and_losses_alone_with_many_clusters_give_wilsons_interval() -> None:
    shares = np.repeat([1.0, 0.0], [12_000, 8_000])
    assert clustered_share_interval(shares) == pytest.approx(wilson_interval(12_000, 20_000),
                                                             abs=1e-5)


def test_pairs_that_say_the_same_count_once() -> None:
    once = clustered_share_interval([1, 0, 1, 1, 0, 1])
    assert clustered_share_interval(np.repeat([1, 0, 1, 1, 0, 1], 5),
                                    np.repeat(np.arange(6), 5)) == pytest.approx(once)


def test_one_cluster_or_one_answer_for_all_still_leaves_doubt() -> None:
    assert clustered_share_interval([1.0, 1.0], [7, 7]).low < 0.25
    low, high = clustered_share_interval([1.0] * 50)
    assert 0.9 < low < 1 == high
    assert clustered_mean_interval([3.0]) == (3.0, 3.0)
    assert clustered_share_interval([1.0 + 2e-16, 1.0]) == clustered_share_interval([1.0, 1.0])


def test_a_spread_of_rounding_errors_is_no_spread() -> None:
    thirds = np.full(64, 2 / 3)
    thirds[::2] += 1e-16
    assert clustered_share_interval(thirds) == pytest.approx(
        clustered_share_interval(np.full(64, 2 / 3)))


def test_what_is_no_share_and_no_value_are_refused() -> None:
    with pytest.raises(ValueError, match="use clustered_mean_interval for values outside 0 to 1"):
        clustered_share_interval([0.5, 1.5])
    with pytest.raises(ValueError, match="no value is left"):
        clustered_mean_interval([])


def test_the_interval_of_a_mean_is_students_where_every_value_is_a_cluster() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    low, high = clustered_mean_interval(values)
    reach = 3.182446305284263 * np.std(values, ddof=1) / 2  # t of 3 degrees of freedom
    assert (low, high) == pytest.approx((3 - reach, 3 + reach))


def test_the_spread_over_seeds_widens_when_seeds_disagree() -> None:
    random = np.random.default_rng(0)
    agreeing = random.random((3, 200)) < 0.6
    disagreeing = random.random((3, 200)) < np.array([[0.4], [0.6], [0.8]])
    calm, torn = seed_spread(agreeing), seed_spread(disagreeing)
    assert torn["high"] - torn["low"] > 3 * (calm["high"] - calm["low"])
    assert torn["between_seeds"] == pytest.approx(np.std(torn["per_seed"], ddof=1))
    assert torn["mean"] == pytest.approx(np.mean(torn["per_seed"]))
    assert seed_spread(disagreeing[::-1, ::-1])["low"] == pytest.approx(torn["low"])


def test_one_seed_and_one_prompt_have_a_spread_too() -> None:
    alone = seed_spread([[1, 0, 1, 1]])
    assert (alone["mean"], alone["between_seeds"]) == (0.75, 0)
    assert alone["low"] < 0.4 < 0.9 < alone["high"]
    same = seed_spread([[1.0], [1.0], [0.0]])
    assert same["low"] < same["mean"] < same["high"]
    assert seed_spread([[1.0]])["low"] < 0.25
    assert 0.75 < seed_spread(np.ones((3, 16)))["low"] < 0.85  # as of 16 prompts, not of 48
    with pytest.raises(ValueError, match="an outcome is missing"):
        seed_spread([[1.0, np.nan]])
    with pytest.raises(ValueError, match="no prompt was judged in every seed"):
        seed_spread(np.empty((3, 0)))


def test_the_spread_of_one_seed_is_its_prompts_and_of_one_prompt_its_seeds() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.5, 0.0, 1.0]
    expected = clustered_share_interval(values)
    for outcomes_ in ([values], [[value] for value in values]):
        found = seed_spread(outcomes_)
        assert (found["low"], found["high"]) == pytest.approx(expected)


def test_the_spread_over_seeds_is_that_of_a_two_way_analysis_of_variance() -> None:
    random = np.random.default_rng(2)
    values = (random.random((4, 30)) < np.array([[0.3], [0.5], [0.6], [0.8]])).astype(float)
    seeds, prompts = np.indices(values.shape).reshape(2, -1)
    fit = ols("value ~ C(seed) + C(prompt)",
              {"value": values.ravel(), "seed": seeds, "prompt": prompts}).fit()
    table = anova_lm(fit)
    by_seed, by_prompt, rest = table["sum_sq"] / table["df"]
    variance = (by_seed + by_prompt - rest) / 120
    freedom = (by_seed + by_prompt - rest) ** 2 / np.sum(
        np.square([by_seed, by_prompt, rest]) / table["df"])  # Satterthwaite's
    rate = values.mean()
    number = rate * (1 - rate) / variance * (norm.ppf(0.975) / t.ppf(0.975, freedom)) ** 2
    found = seed_spread(values)
    assert (found["low"], found["high"]) == pytest.approx(
        proportion_confint(rate * number, number, method="wilson"))


def test_a_difference_is_as_wide_as_both_and_narrower_when_they_rise_together() -> None:
    low, high = difference_interval(0.6, (0.5, 0.7), 0.2, (0.1, 0.3))
    assert (low, high) == pytest.approx((0.4 - 0.1 * np.sqrt(2), 0.4 + 0.1 * np.sqrt(2)))
    assert difference_interval(0.6, (0.5, 0.7), 0.2, (0.1, 0.3), 1.0) == pytest.approx((0.4, 0.4))
    assert difference_interval(1.0, (0.8, 1.0), 0.5, (0.5, 0.5)) == pytest.approx((0.3, 0.5))
