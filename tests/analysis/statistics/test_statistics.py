"""Properties that hold for any scores, and the inputs that nobody plans for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lib.analysis.statistics import (
    exponential_moving_average,
    mcnemar,
    paired_bootstrap,
    wilson_interval,
    win_rate,
)
from lib.analysis.statistics.bootstrap import CHUNK_CELLS, bootstrap_means, resample_counts
from lib.analysis.statistics.bradley_terry import bradley_terry, fit_ratings
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.selection_law import selection_win_rate
from lib.analysis.statistics.significance import holm, mean_test, share_test, sign_test

SCORES = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=60)


@given(SCORES)
def test_a_win_rate_and_its_mirror_sum_to_one(scores: list[tuple[int, int]]) -> None:
    a, b = zip(*scores, strict=True)
    assert win_rate(a, b) + win_rate(b, a) == pytest.approx(1)
    assert win_rate(a, a) == 0.5


@given(SCORES, st.randoms())
def test_the_order_of_prompts_does_not_matter(scores: list[tuple[int, int]],
                                              random: object) -> None:
    shuffled = list(scores)
    random.shuffle(shuffled)
    assert win_rate(*zip(*scores, strict=True)) == win_rate(*zip(*shuffled, strict=True))


def test_missing_scores_are_left_out_pairwise_and_counted() -> None:
    a, b = [1, None, 3, np.nan, 5], [0, 1, None, 2, 6]
    assert win_rate(a, b) == 0.5
    found = paired_bootstrap(a, b, resamples=100, seed=0)
    assert (found.n, found.missing, found.mean) == (2, 3, 0)


def test_no_common_score_is_an_error_not_a_number() -> None:
    with pytest.raises(ValueError, match="needs at least one"):
        win_rate([1, None], [None, 1])
    with pytest.raises(ValueError, match="needs at least one"):
        paired_bootstrap([None], [1.0], 10, 0)


def test_scores_of_different_prompt_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores against 3"):
        win_rate([1, 2], [1, 2, 3])


def test_a_bootstrap_of_one_prompt_has_no_width() -> None:
    found = paired_bootstrap([2.0], [1.0], resamples=50, seed=0)
    assert (found.low, found.mean, found.high, found.n) == (1, 1, 1, 1)


def test_a_bootstrap_interval_shrinks_with_the_prompts_and_repeats_with_its_seed() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    few = paired_bootstrap(scores[:50], np.zeros(50), 2000, seed=3)
    many = paired_bootstrap(scores, np.zeros(400), 2000, seed=3)
    assert many.high - many.low < few.high - few.low
    assert few == paired_bootstrap(scores[:50], np.zeros(50), 2000, seed=3)


def test_bootstrap_columns_share_their_prompts_and_skip_their_own_gaps() -> None:
    column = np.array([1, 0, 1, 1, 0.5, 0])
    gaps = np.array([1, 0, np.nan, 1, 0.5, np.nan])
    means = bootstrap_means(np.stack([column, 1 - column, gaps], axis=1), 500, seed=0)
    assert means[:, 0] + means[:, 1] == pytest.approx(np.ones(500))
    assert np.nanmean(means[:, 2]) == pytest.approx(np.nanmean(gaps), abs=0.05)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_resampling_draws_as_many_prompts_as_it_must_in_chunks_of_bounded_size(n: int) -> None:
    cells = [chunk.size for chunk in resample_counts(n, 2000, seed=0)]
    assert sum(cells) == 2000 * n  # work grows with the prompts, memory does not
    assert max(cells) <= CHUNK_CELLS


def test_a_sign_test_of_ties_alone_finds_nothing() -> None:
    assert sign_test(0, 0) == 1
    assert mcnemar(0, 0).exact_p == mcnemar(0, 0).mid_p == 1
    assert mcnemar(4, 4).mid_p == pytest.approx(1)


def test_holm_multiplies_the_smallest_p_by_the_size_of_the_family() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("size", [1, 2, 9, 50])
def test_holms_p_values_are_those_of_statsmodels(size: int) -> None:
    values = np.random.default_rng(size).random(size).round(2) ** 3  # some are equal
    assert holm(values) == pytest.approx(list(multipletests(values, method="holm")[1]))


def test_a_test_and_its_interval_agree_on_one_half() -> None:
    random = np.random.default_rng(3)
    for shares in (random.random(20) ** 2, random.choice([0, 0.5, 1.0], 50), np.ones(9)):
        found = share_test(shares)
        ends = clustered_share_interval(shares, confidence=1 - found.p_value)
        assert min(abs(end - 0.5) for end in ends) == pytest.approx(0, abs=1e-9)
        assert (found.ci_low, found.ci_high) == clustered_share_interval(shares)
    assert share_test([0.5] * 30).p_value == share_test([0.7]).p_value == 1
    assert share_test([0.7]).smallest_effect is None


def test_the_smallest_effect_is_found_with_power_of_four_fifths() -> None:
    random, n, spread = np.random.default_rng(4), 64, 0.2
    effect = mean_test(random.normal(0, spread, 100_000)).smallest_effect * np.sqrt(100_000 / n)
    runs = random.normal(effect, spread, (3000, n))
    found = np.mean([mean_test(values).p_value < 0.05 for values in runs])
    assert found == pytest.approx(0.8, abs=0.03)  # three Monte-Carlo errors, and t at 63 degrees
    shares = 0.5 + runs - effect
    assert np.mean([share_test(np.clip(values, 0, 1)).smallest_effect
                    for values in shares[:200]]) == pytest.approx(effect, rel=0.06)


def test_an_even_result_is_bounded_by_two_one_sided_tests() -> None:
    random = np.random.default_rng(5)
    values = random.normal(0.01, 0.1, 50)
    found = mean_test(values)
    margin = found.equivalent_within
    below = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    above = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert max(below, above) == pytest.approx(0.05)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert mean_test([0.0] * 4)[2:] == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(("wins", "n", "message"), [
    (11, 10, "wins is 11, expected 0 to n = 10"), (-1, 10, "wins is -1, expected 0 to n = 10"),
    (0, 0, "n is 0; an interval needs at least one compared prompt")])
def test_a_share_of_nothing_or_beyond_all_has_no_interval(wins: int, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(wins, n)


def test_a_share_is_bounded_as_the_mean_that_it_is() -> None:
    """Far from 0 and 1, with many prompts, both intervals are the same."""
    shares = np.random.default_rng(6).beta(9, 8, 400)
    share, mean = share_test(shares), mean_test(shares - 0.5)
    for ours, theirs in zip(share[2:], mean[2:], strict=True):
        assert ours == pytest.approx(theirs, rel=0.03)
    assert share.equivalent_within < max(share.ci_high - 0.5, 0.5 - share.ci_low)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=4, max_size=4),
       st.permutations(range(4)))
def test_ratings_are_finite_sum_to_zero_and_follow_a_renaming(
        wins: list[list[int]], order: list[int]) -> None:
    matrix = np.array(wins)
    strengths = bradley_terry(matrix)
    assert np.all(np.isfinite(strengths))
    assert strengths.sum() == pytest.approx(0, abs=1e-8)
    assert bradley_terry(matrix[np.ix_(order, order)]) == pytest.approx(strengths[order], abs=1e-6)


def test_many_prompts_take_no_more_steps_to_rate_than_few(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of wins a step of Newton's method cannot shrink below rounding."""
    steps, solve = [], np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda *given: steps.append(1) or solve(*given))
    wins = np.random.default_rng(0).integers(20, 80, size=(500, 12, 12))
    counts = []
    for prompts in (1, 10, 1000):
        steps.clear()
        bradley_terry(wins * prompts)
        counts.append(len(steps))
    assert counts[0] == counts[1] == counts[2] < 10


def test_a_system_that_never_loses_gets_a_finite_rating_and_the_prior_is_named() -> None:
    outcomes = np.column_stack([np.ones(40), np.ones(40), [1, 0] * 20])
    ratings = fit_ratings(["best", "x", "y"], [(0, 1), (0, 2), (1, 2)], outcomes, resamples=50)
    assert ratings.prior == 0.5
    assert ratings.strengths[0] == max(ratings.strengths) < 10
    assert all(low <= value <= high for low, value, high in
               zip(ratings.low, ratings.strengths, ratings.high, strict=True))
    assert ratings.elo[0] == pytest.approx(ratings.strengths[0] * 173.7178, rel=1e-5)


def test_a_ring_of_wins_shows_as_misfit() -> None:
    outcomes = np.column_stack([[1] * 9 + [0], [1] * 9 + [0], [0] * 9 + [1]])
    ratings = fit_ratings(["rock", "paper", "scissors"], [(0, 1), (1, 2), (0, 2)], outcomes,
                          resamples=20)
    assert ratings.misfit == pytest.approx(0.4)


def test_selection_by_noise_alone_wins_n_of_n_plus_one() -> None:
    random = np.random.default_rng(0)
    candidates, opponent = random.normal(size=(100_000, 4)), random.normal(size=100_000)
    simulated = np.mean(candidates.max(axis=1) > opponent)
    assert selection_win_rate(4) == pytest.approx(simulated, abs=0.005)


def test_a_smoothed_curve_starts_at_its_first_value_and_skips_gaps() -> None:
    smoothed = exponential_moving_average([3.0, np.nan, 1.0, np.inf], smoothing=0.9)
    assert smoothed[0] == pytest.approx(3)
    assert np.isnan(smoothed[1])
    assert 1 < smoothed[2] < 3
    assert np.isinf(smoothed[3])
    assert exponential_moving_average([2.0, 2.0]).tolist() == [2.0, 2.0]
    assert exponential_moving_average([]).tolist() == []
    for smoothing in (1.0, -0.5):
        with pytest.raises(ValueError, match=f"smoothing is {smoothing}"):
            exponential_moving_average([1.0], smoothing)
