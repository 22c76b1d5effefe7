"""Betas from a batch's gaps and from measured KL, against the method vectors."""

import json

import numpy as np
import pytest

from lib import ROOT
from lib.training import losses
from lib.training.betas.formulas import (
    RunningMoments,
    adaptive_beta,
    best_of_n_gap,
    dynamic_beta,
    filter_log_weights,
    filtered,
)

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
GIVEN, EXPECTED = VECTORS["3_beta_dpo"]["in"], VECTORS["3_beta_dpo"]["out"]
GAPS = GIVEN["gaps_logratio_units"]


def test_a_batchs_moments_filter_beta_and_loss_agree_with_the_vector() -> None:
    moments = RunningMoments().after(GAPS, GIVEN["momentum"])
    assert moments.mean == pytest.approx(EXPECTED["M0_after_update"], abs=1e-9)
    assert moments.sd == pytest.approx(EXPECTED["std_after_update"], abs=1e-9)
    np.testing.assert_allclose(np.exp(filter_log_weights(GAPS, moments)),
                               EXPECTED["sampling_weights"], rtol=1e-9)
    kept = np.array([GAPS[i] for i in GIVEN["selected"]])
    beta = dynamic_beta(0.1, kept.mean(), moments.mean, GIVEN["a"])
    assert beta == pytest.approx(EXPECTED["beta_used"], abs=1e-9)
    np.testing.assert_allclose(losses.dpo_loss(kept, 0 * kept, 0 * kept, 0 * kept, beta),
                               EXPECTED["loss_selected"], atol=1e-9)
    assert dynamic_beta(0.1, kept.mean(), 1.0, GIVEN["a"]) == pytest.approx(
        EXPECTED["steady_state_M0_1p0_same_selection"], abs=1e-9)


def test_debiased_moments_are_the_batchs_own_after_one_and_weigh_recent_ones_more() -> None:
    one = RunningMoments().after(GAPS, 0.9).debiased()
    assert (one.mean, one.sd) == pytest.approx((np.mean(GAPS), np.std(GAPS, ddof=1)))
    moments = RunningMoments()
    for mean in (1.0, 2.0, 4.0):
        moments = moments.after([mean, mean], 0.5)
    assert moments.debiased().mean == pytest.approx((1 * 0.25 + 2 * 0.5 + 4) / 1.75)
    assert RunningMoments().debiased() == RunningMoments()


@pytest.mark.parametrize("gaps", [[0.0] * 5, [3.0], [1e9, -1e9, 0.0], [float(i) for i in range(7)]])
def test_every_batch_can_be_filtered_and_keeps_its_share(gaps: list[float]) -> None:
    moments = RunningMoments().after(gaps, 0.9)  # not debiased: a deviation ten times too small
    kept = filtered(filter_log_weights(gaps, moments), 0.2, np.random.default_rng(0))
    assert kept == sorted(set(kept))
    assert len(kept) == max(1, int(0.8 * len(gaps)))


def test_nothing_is_filtered_with_a_share_of_0_and_ten_pairs_lose_two_at_a_fifth() -> None:
    assert filtered(np.zeros(4), 0.0, np.random.default_rng(0)) == [0, 1, 2, 3]
    assert len(filtered(np.zeros(10), 0.2, np.random.default_rng(0))) == 8
    assert len(filtered(np.zeros(10), 0.7, np.random.default_rng(0))) == 3  # 1 - .7 is below .3


def test_rounding_before_the_first_step_chooses_no_pairs() -> None:
    gaps = [1e-6, -2e-6, 0.0, 3e-6]
    moments = RunningMoments().after(gaps, 0.9).debiased()
    assert filter_log_weights(gaps, moments).tolist() == [0.0] * 4


def test_pairs_are_kept_by_weight_without_replacement() -> None:
    weights, generator = np.log([0.5, 0.3, 0.2]), np.random.default_rng(0)
    counts = np.zeros(3)
    for _ in range(4000):
        counts[filtered(weights, 0.6, generator)] += 1
    np.testing.assert_allclose(counts / 4000, [0.5, 0.3, 0.2], atol=0.03)


def test_beta_stays_above_its_floor_and_is_dpos_without_strength() -> None:
    assert dynamic_beta(0.1, -100.0, 0.0, 0.6) == 1e-3
    assert dynamic_beta(0.1, -100.0, 5.0, 0.0) == 0.1


def test_a_beta_steered_by_kl_agrees_with_the_vector() -> None:
    given, beta = VECTORS["3_adaptive_kl"]["in"], VECTORS["3_adaptive_kl"]["in"]["beta0"]
    for step in VECTORS["3_adaptive_kl"]["out"]["trace"]:
        beta = adaptive_beta(beta, step["kl"], given["target"], given["n_steps"], given["horizon"])
        assert beta == pytest.approx(step["beta"], abs=1e-9)


def test_a_kl_at_its_target_or_no_pair_since_leaves_beta_and_errors_are_clipped() -> None:
    assert adaptive_beta(0.1, 6.0, 6.0, 100, 100) == 0.1
    assert adaptive_beta(0.1, 60.0, 6.0, 0, 100) == 0.1
    assert adaptive_beta(0.1, 1e9, 6.0, 100, 100) == pytest.approx(0.12)
    assert adaptive_beta(0.1, 0.0, 6.0, 100, 100) == pytest.approx(0.08)
    assert adaptive_beta(0.1, -0.3, 6.0, 100, 100) == pytest.approx(0.08)  # k1 may be below 0


def test_the_gap_of_best_of_n_agrees_with_the_vector() -> None:
    for n, expected in VECTORS["4_bonbon"]["out"]["by_n"].items():
        assert best_of_n_gap(int(n)) == pytest.approx(expected["target_gap"], abs=1e-9)
        assert 1 / (2 * best_of_n_gap(int(n))) == pytest.approx(expected["beta_star"], abs=1e-9)
    with pytest.raises(ValueError, match="n of at least 2"):
        best_of_n_gap(1)
