"""Properties that hold for any scores, and the inputs that nobody plans for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from scipy.stats import norm, t
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.multitest import multipletests

from lib.analysis.statistics import (
    expected_calibration_error,
    exponential_moving_average,
    mcnemar,
    paired_bootstrap,
    win_rate,
)
from lib.analysis.statistics.agreement import agreement, cohen_kappa, gwet_ac1
from lib.analysis.statistics.bootstrap import CHUNK_CELLS, bootstrap_means, resample_counts
from lib.analysis.statistics.bradley_terry import bradley_terry, fit_ratings
from lib.analysis.statistics.calibration import (
    calibration,
    perfect_error,
    temperature_interval,
)
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import Floats
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


def test_length_control_changes_nothing_when_all_answers_are_equally_long() -> None:
    found = length_controlled_win_rate([1, 0, 1, 1], [10] * 4, [10] * 4)
    assert found.win_rate == pytest.approx(0.75)
    assert (found.length_coefficient, found.extreme) == (0, False)


@pytest.mark.parametrize("outcomes", [[1, 1, 1, 1], [1, 1, 0, 0], [0.5] * 4, [1, np.nan, 0, 0.5]])
def test_length_control_stays_finite_where_wins_follow_length_exactly(
        outcomes: list[float]) -> None:
    found = length_controlled_win_rate(outcomes, [300, 200, 10, 20], [100, 100, 100, 100])
    assert 0 <= found.low < found.win_rate < found.high <= 1
    assert found.high - found.low > 0.2  # four prompts tell little, separable or not
    assert abs(found.length_coefficient) < 20


def test_length_control_of_one_prompt_gives_a_number() -> None:
    assert 0 < length_controlled_win_rate([1], [10], [20]).win_rate < 1


def test_three_prompts_are_enough_for_an_interval_of_the_length_controlled_rate_and_two_are_not(
        ) -> None:
    lengths = [100, 120, 140], [120, 100, 130]
    found = length_controlled_win_rate([1, 0, 0.5], *lengths)
    assert 0 < found.low < found.win_rate < found.high < 1
    two = length_controlled_win_rate([1, 0], *(part[:2] for part in lengths))
    assert (two.low, two.high) == (0, 1)


@pytest.mark.parametrize(("taste", "extreme"), [(15, True), (10_000, False)])
def test_a_correction_that_takes_most_of_a_lead_is_marked_as_extreme(taste: float,
                                                                     extreme: bool) -> None:
    """One system is mostly longer, and the judge likes length, or cares for nothing."""
    random = np.random.default_rng(0)
    ours, theirs = random.normal(140, 30, 500), random.normal(100, 30, 500)
    wins = (random.random(500) < expit((ours - theirs) / taste)).astype(float)
    for found in (length_controlled_win_rate(wins, ours, theirs),
                  length_controlled_win_rate(1 - wins, theirs, ours)):  # as the other reads it
        assert found.extreme is extreme


def test_length_control_finds_a_judge_that_only_counts_words() -> None:
    random = np.random.default_rng(0)
    lengths_a, lengths_b = random.normal(120, 30, 500), random.normal(100, 30, 500)
    wins = random.random(500) < 1 / (1 + np.exp(-(lengths_a - lengths_b) / 15))
    found = length_controlled_win_rate(wins, lengths_a, lengths_b)
    assert found.raw > 0.65
    assert found.win_rate == pytest.approx(0.5, abs=0.08)


def test_length_control_is_the_binomial_glm_of_statsmodels_with_its_robust_covariance() -> None:
    random = np.random.default_rng(0)
    wins = random.choice([0, 0.5, 1], size=60, p=[0.3, 0.2, 0.5])
    lengths = random.normal(100, 30, size=(2, 60))
    found = length_controlled_win_rate(wins, *lengths)
    difference = lengths[0] - lengths[1]
    columns = np.column_stack([np.ones(60), np.tanh(difference / difference.std(ddof=1))])
    fit = GLM(wins, columns, Binomial()).fit(tol=1e-12, tol_criterion="params", cov_type="HC0")
    assert [found.theta, found.length_coefficient] == pytest.approx(fit.params, abs=1e-9)
    spread = np.sqrt(fit.cov_params()[0, 0] * 60 / 58)  # HC1
    ends = expit(fit.params[0] + t.ppf(0.975, 58) * spread * np.array([-1, 1]))
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)


def test_judges_of_one_mind_have_no_kappa_but_an_ac1_of_one() -> None:
    found = agreement(["A"] * 5, ["A"] * 5)
    assert (found["kappa"], found["agreement"], found["ac1"]) == (None, 1, 1)


def test_kappa_is_zero_at_chance_and_ignores_unlabelled_items() -> None:
    assert cohen_kappa(["A", "A", "B", "B", None], ["A", "B", "A", "B", "A"]) == pytest.approx(0)
    with pytest.raises(ValueError, match="same items"):
        cohen_kappa(["A"], ["A", "B"])


def test_judges_that_labelled_nothing_in_common_have_no_agreement_and_are_counted() -> None:
    apart = ["A", None, np.nan], [None, "B", "A"]
    assert agreement(*apart) == {"n": 0, "missing": 3, "agreement": None, "kappa": None,
                                 "ac1": None}
    for measure in (cohen_kappa, gwet_ac1):
        with pytest.raises(ValueError, match="no item has a label from both judges"):
            measure(*apart)


def test_calibration_error_is_small_for_rewards_that_mean_what_they_say() -> None:
    random = np.random.default_rng(0)
    size = random.exponential(1.5, 20_000)
    right = random.random(20_000) < 1 / (1 + np.exp(-size))
    gaps = np.where(right, size, -size)
    assert expected_calibration_error(gaps) < 0.01
    assert expected_calibration_error(5 * gaps) > 0.1
    assert calibration(2 * gaps)["temperature"] == pytest.approx(2, rel=0.05)


def clustered_gaps(random: np.random.Generator, temperature: float) -> tuple[Floats, Floats]:
    """Gaps of 120 prompts with seven correlated pairs each, right as sigmoid(gap / temperature)."""
    prompts = np.repeat(np.arange(120), 7)
    shared = random.normal(size=120)[prompts]
    chance = norm.cdf(np.sqrt(0.8) * shared + np.sqrt(0.2) * random.normal(size=len(prompts)))
    size = random.exponential(1.0, len(prompts))
    return np.where(chance < expit(size / temperature), size, -size), prompts


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_the_interval_of_the_temperature_covers_the_truth(temperature: float) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(400):
        low, high = temperature_interval(*clustered_gaps(random, temperature))
        held.append(low <= temperature <= high)
    assert 0.925 <= np.mean(held) <= 0.975


def test_the_interval_of_the_temperature_is_a_logistic_regressions_with_clustered_errors() -> None:
    gaps, prompts = clustered_gaps(np.random.default_rng(1), 1.3)
    fit = GLM(np.ones(len(gaps)), gaps[:, None], Binomial()).fit(
        tol=1e-12, tol_criterion="params", cov_type="cluster", cov_kwds={"groups": prompts})
    reach = t.ppf(0.975, 119) * fit.bse[0]
    assert temperature_interval(gaps, prompts) == pytest.approx(
        (1 / (fit.params[0] + reach), 1 / (fit.params[0] - reach)))


def test_a_perfect_models_calibration_error_is_what_it_has_by_chance() -> None:
    random = np.random.default_rng(0)
    samples = [clustered_gaps(random, 1.0) for _ in range(200)]
    seen = [expected_calibration_error(gaps) for gaps, _ in samples]
    floors = [perfect_error(gaps, prompts, resamples=200) for gaps, prompts in samples[:20]]
    means, tops = zip(*floors, strict=True)
    assert np.mean(means) == pytest.approx(np.mean(seen), abs=0.004)
    assert np.mean(tops) == pytest.approx(np.percentile(seen, 95), abs=0.012)
    alone = np.mean([perfect_error(gaps, resamples=200)[0] for gaps, _ in samples[:20]])
    assert alone < np.mean(means) - 0.006  # pairs of one prompt are correlated


def test_a_temperature_without_an_optimum_lies_on_the_border() -> None:
    assert calibration([1.0, 2.0])["temperature"] == 0.01  # all right: never sure enough
    assert temperature_interval([1.0, 2.0]) == (0.01, 1000)  # and nothing is known
    assert calibration([-1.0, -2.0])["temperature"] == 1000  # all wrong: never unsure enough


def test_equal_scores_are_confidence_one_half_and_half_a_hit() -> None:
    [only] = calibration([0.0] * 10)["bins"]
    assert (only["n"], only["confidence"], only["hit"]) == (10, 0.5, 0.5)


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
