"""Win rates at equal length: what a judge's taste for length takes and gives."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from lib.analysis.statistics.length_control import length_controlled_win_rate


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
