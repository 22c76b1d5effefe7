"""Every statistic against the numbers of methods_vectors.json (computed in plain float64)."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from lib import ROOT
from lib.analysis.statistics import (
    bradley_terry,
    cohen_kappa,
    expected_calibration_error,
    exponential_moving_average,
    length_controlled_win_rate,
    mcnemar,
    paired_bootstrap,
    wilson_interval,
    win_rate,
)
from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.bootstrap import bootstrap_means
from lib.analysis.statistics.bradley_terry import ELO_PER_NAT, expected_wins
from lib.analysis.statistics.calibration import calibration
from lib.analysis.statistics.outcomes import compare_scores
from lib.analysis.statistics.selection_law import selection_win_rate
from lib.analysis.statistics.significance import sign_test

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())


def vector(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return VECTORS[name]["in"], VECTORS[name]["out"]


def exactly(expected: object) -> object:
    return pytest.approx(expected, abs=1e-9)


def test_a_win_rate_counts_ties_as_half() -> None:
    given, expected = vector("5_winrate")
    assert win_rate(given["score_A"], given["score_B"]) == exactly(expected["win_rate"])
    outcomes = compare_scores(given["score_A"], given["score_B"])
    assert outcomes.tolist() == expected["per_prompt"]
    variance = vector("5_ties_variance")[1]
    assert outcomes.var(ddof=1) == exactly(variance["sample_var_ddof1"])


@pytest.mark.parametrize("claim", sorted(vector("5_intervals_seed_table_if_n200")[1]))
def test_intervals_of_the_papers_table_at_n_200(claim: str) -> None:
    expected = vector("5_intervals_seed_table_if_n200")[1][claim]
    k, n = expected["k"], expected["n"]
    assert wilson_interval(k, n) == exactly(tuple(expected["wilson95"]))
    assert sign_test(k, n - k) == pytest.approx(expected["sign_test_p"], rel=1e-9)


def test_the_sign_test_has_the_power_of_the_vector() -> None:
    expected = vector("5_power")[1]
    rejected = {n: [sign_test(k, n - k) <= 0.05 for k in range(n + 1)]
                for n in (100, 135, 136, 200)}
    power = {n: binom.pmf(np.arange(n + 1), n, 0.62)[found].sum() for n, found in rejected.items()}
    assert power[100] == exactly(expected["power_exact_n100"])
    assert power[200] == exactly(expected["power_exact_n200"])
    assert power[135] < 0.8 <= power[expected["n_exact_80_first_crossing"]]
    assert rejected[200].index(False) == 201 - expected["critical_wins_at_n200"]


def test_as_many_prompts_as_the_vector_says_lift_the_lower_end_above_one_half() -> None:
    expected = vector("5_power")[1]
    fewest = expected["n_wilson_lower_above_half_at_observed_0p62"]
    lows = {n: wilson_interval(int(0.62 * n), n).low for n in (fewest - 1, fewest)}
    assert lows[fewest - 1] < 0.5 < lows[fewest]
    low, high = wilson_interval(124, 200)
    assert (high - low) / 2 == exactly(expected["halfwidth_wilson_n200_p62"])


def test_every_vector_is_tested() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name in VECTORS if f'"{name}"' not in texts] == []


def test_intervals_of_few_prompts() -> None:
    expected = vector("5_intervals_small")[1]
    assert wilson_interval(8, 10) == exactly(tuple(expected["wilson_8_of_10"]))
    assert wilson_interval(0, 10) == exactly(tuple(expected["wilson_0_of_10"]))


def test_mcnemar_in_all_its_forms() -> None:
    given, expected = vector("5_mcnemar")
    found = mcnemar(given["b"], given["c"])
    assert found.exact_p == exactly(expected["exact_p"])
    assert found.mid_p == exactly(expected["mid_p"])
    assert (found.chi2, found.chi2_p) == exactly((expected["chi2"], expected["p_chi2"]))
    corrected = expected["chi2_cc"], expected["p_chi2_cc"]
    assert (found.corrected_chi2, found.corrected_p) == exactly(corrected)


def test_the_papers_best_temperature_rests_on_one_prompt() -> None:
    expected = vector("5_temperature_claim")[1]
    assert mcnemar(12, 0).exact_p == exactly(expected["mcnemar_exact_most_favourable_b12_c0"])
    assert mcnemar(25, 13).exact_p == exactly(expected["mcnemar_exact_least_favourable_b25_c13"])
    assert mcnemar(1, 0).exact_p == exactly(expected["T06_vs_T025_most_favourable_b1_c0"])


def test_the_bootstrap_converges_to_the_full_enumeration() -> None:
    given, expected = vector("5_bootstrap_exact")
    outcomes = np.array(given["per_prompt"])
    means = bootstrap_means(outcomes[:, None], 200_000, seed=0)[:, 0]
    assert means.mean() == pytest.approx(expected["mean"], abs=2e-3)
    assert means.std() == pytest.approx(expected["sd"], abs=2e-3)
    ends = np.percentile(means, [2.5, 97.5])
    assert ends == pytest.approx([expected["q025"], expected["q975"]], abs=1e-6)


def test_the_paired_bootstrap_converges_to_the_full_enumeration() -> None:
    given, expected = vector("5_bootstrap_exact")
    differences = given["paired_diffs"]
    found = paired_bootstrap(differences, np.zeros(4), resamples=200_000, seed=1)
    assert found.mean == exactly(expected["paired_mean"])
    assert found.standard_error == pytest.approx(expected["paired_sd"], abs=2e-3)
    assert found.p_value == pytest.approx(2 * expected["paired_P_le_0"], abs=4e-3)
    ends = expected["paired_q025"], expected["paired_q975"]
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)


def test_bradley_terry_strengths_probabilities_and_likelihood() -> None:
    given, expected = vector("5_bradley_terry")
    wins = np.array(given["wins"])
    strengths = bradley_terry(wins)
    assert strengths == exactly(expected["log_strength_centered"])
    assert strengths * ELO_PER_NAT == exactly(expected["elo_scale"])
    assert expected_wins(strengths) == exactly(np.array(expected["P"]))
    likelihood = np.sum(wins * np.log(expected_wins(strengths)))
    assert likelihood == exactly(expected["loglik"])


def test_length_controlled_win_rate_with_two_and_three_columns() -> None:
    given, expected = vector("5_length_controlled")
    arguments = given["pref_model"], given["len_model"], given["len_baseline"]
    two = length_controlled_win_rate(*arguments)
    assert two.raw == exactly(expected["raw_win_rate"])
    assert [two.theta, two.length_coefficient] == exactly(expected["coef_theta_len"])
    assert two.win_rate == exactly(expected["lc_win_rate_2col"])
    three = length_controlled_win_rate(*arguments, difficulty=given["difficulty"])
    coefficients = [three.theta, three.length_coefficient, three.difficulty_coefficient]
    assert coefficients == exactly(expected["coef_theta_len_difficulty"])
    assert three.win_rate == exactly(expected["lc_win_rate_3col"])


def test_kappa_with_and_without_ties() -> None:
    given, expected = vector("5_kappa")
    first, second = given["judge1"], given["judge2"]
    assert agreement(first, second)["agreement"] == exactly(expected["po"])
    assert cohen_kappa(first, second) == exactly(expected["kappa"])
    no_tie = [None if "T" in pair else pair[0] for pair in zip(first, second, strict=True)]
    assert cohen_kappa(no_tie, second) == exactly(expected["no_ties"]["kappa"])


def test_calibration_of_reward_differences() -> None:
    given, expected = vector("5_ece")
    gaps = given["reward_diff_chosen_minus_rejected"]
    found = calibration(gaps)
    assert expected_calibration_error(gaps, bins=5) == exactly(expected["ece"])
    assert found["accuracy"] == exactly(expected["accuracy"])
    assert (found["nll"], found["brier"]) == exactly((expected["nll"], expected["brier"]))
    assert found["temperature"] == exactly(expected["fitted_temperature"])
    assert found["nll_at_temperature"] == exactly(expected["nll_at_fitted"])
    bins = [list(row.values()) for row in found["bins"]]
    assert bins == [exactly(row) for row in expected["bins"]]


def test_selection_by_the_judge_itself_inflates_a_win_rate() -> None:
    expected = vector("5_same_rm_inflation")[1]
    for correlation, rate in expected["null_policy_equal"].items():
        assert selection_win_rate(4, float(correlation)) == exactly(rate)
    for correlation, rate in expected["policy_single_win_0p62"].items():
        assert selection_win_rate(4, float(correlation), single=0.62) == exactly(rate)
    for n, rate in expected["null_by_N_rho1"].items():
        assert selection_win_rate(int(n)) == exactly(rate)
    assert selection_win_rate(4, 1.0, 0.945) == exactly(expected["sft_topN_vs_base_from_0p945"])


def test_the_smoothed_curve_is_tensorboards() -> None:
    given, expected = vector("7_ema")
    smoothed = exponential_moving_average(given["x"], given["smoothing"])
    assert smoothed == exactly(expected["tensorboard_debiased"])
