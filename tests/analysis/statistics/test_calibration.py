"""Whether a reward difference means the probability that it says, and how surely that is known."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm, t
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from lib.analysis.statistics import expected_calibration_error
from lib.analysis.statistics.calibration import calibration, perfect_error, temperature_interval
from lib.analysis.statistics.outcomes import Floats


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
