"""Losses against the method vectors, TRL's formulas and hand calculation."""

import json
from math import log
from typing import Any

import numpy as np
import pytest
import torch

from lib import ROOT
from lib.training import losses

VECTORS: dict[str, Any] = json.loads(
    (ROOT / "tests" / "methods_vectors.json").read_text())
FAMILY = VECTORS["2_dpo_family"]["in"]
FOUR = [np.array(FAMILY[name]) for name in ("policy_chosen_logp", "policy_rejected_logp",
                                            "ref_chosen_logp", "ref_rejected_logp")]
LENGTHS = [np.array(FAMILY[name]) for name in ("len_chosen", "len_rejected")]


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_sft_loss_weighs_every_token_of_the_window_the_same() -> None:
    vector = VECTORS["1_sft"]
    nlls = np.array([2.34075, 1.74367, 3.13921, 1.74367])
    assert losses.sft_loss(-nlls, np.ones(4)) == pytest.approx(
        2.24182400735, abs=1e-5), vector["out"]
    padded = np.array([[-nlls[0], 9.0], [-nlls[1], 9.0]])
    assert losses.sft_loss(padded, np.array([[1, 0], [1, 0]])) == pytest.approx(nlls[:2].mean())


def test_sft_loss_without_a_response_token_is_an_error_not_a_nan() -> None:
    with pytest.raises(ValueError, match="no response token"):
        losses.sft_loss(np.zeros(3), np.zeros(3))


def test_the_dpo_family_agrees_with_the_vectors() -> None:
    beta = FAMILY["beta"]
    close(losses.dpo_loss(*FOUR, beta).mean(), 0.673291222425)
    close(losses.dpo_loss(*FOUR, beta, label_smoothing=0.1).mean(), 0.678291222425)
    close(losses.robust_dpo_loss(*FOUR, beta, 0.1).mean(), 0.667041222425)
    close(losses.ipo_loss(*FOUR, beta).mean(), 24.125)
    close(losses.length_normalised_dpo_loss(*FOUR, 0.1, *LENGTHS).mean(), 0.691254583607)
    close(losses.length_normalised_dpo_loss(*FOUR, 5.0, *LENGTHS).mean(), 0.636576559396)
    close(losses.simpo_loss(*FOUR, 2.0, *LENGTHS, gamma=1.0).mean(), 1.7088088267)


def test_odpo_cal_dpo_beta_dpo_and_bonbon_agree_with_the_vectors() -> None:
    odpo = VECTORS["3_odpo"]["in"]
    gaps = np.array(odpo["score_chosen"]) - np.array(odpo["score_rejected"])
    close(losses.odpo_loss(*FOUR, 0.1, gaps), VECTORS["3_odpo"]["out"]["loss_log"])
    close(losses.odpo_loss(*FOUR, 0.1, gaps, offset="identity"),
          VECTORS["3_odpo"]["out"]["loss_identity"])
    close(losses.cal_dpo_loss(*FOUR, 0.1, coefficient=1.0).mean(), 48.369463665)
    close(losses.cal_dpo_loss(*FOUR, 0.1).mean(), 24.619463665)
    beta = VECTORS["3_beta_dpo"]
    kept = np.array([beta["in"]["gaps_logratio_units"][i] for i in beta["in"]["selected"]])
    close(losses.beta_dpo_loss(kept, 0 * kept, 0 * kept, 0 * kept, 0.1,
                               beta["out"]["M0_after_update"]), beta["out"]["loss_selected"])
    bonbon = VECTORS["4_bonbon"]["in"]
    chosen = -np.array(bonbon["nll_best_summed"])
    gap = np.array(bonbon["gap_logratio_best_minus_worst"])
    close(losses.bonbon_loss(chosen, 0 * gap, chosen - gap, 0 * gap, n=4).mean(), 1.04083333333)


def test_implicit_rewards_and_margins_agree_with_the_vectors() -> None:
    chosen = losses.implicit_rewards(FOUR[0], FOUR[2], 0.1)
    rejected = losses.implicit_rewards(FOUR[1], FOUR[3], 0.1)
    close(chosen - rejected, [0.2, -0.25, 0.0, 0.25])


def test_policy_equal_to_reference_gives_exactly_ln_2() -> None:
    same = torch.tensor([-12.5, -30.25])
    assert losses.dpo_loss(same, same - 3, same, same - 3, 0.1).tolist() == pytest.approx(
        [log(2)] * 2, abs=1e-7)


def test_gradients_are_the_closed_form() -> None:
    four = [torch.tensor(part, requires_grad=True) for part in FOUR]
    losses.dpo_loss(*four, 0.1).sum().backward()
    gap = torch.tensor(FAMILY["beta"] * ((FOUR[0] - FOUR[2]) - (FOUR[1] - FOUR[3])))
    torch.testing.assert_close(four[0].grad, -0.1 * torch.sigmoid(-gap))
    torch.testing.assert_close(four[1].grad, 0.1 * torch.sigmoid(-gap))


def test_numpy_gives_numpy_and_torch_gives_torch() -> None:
    assert isinstance(losses.dpo_loss(*FOUR, 0.1), np.ndarray)
    assert isinstance(losses.dpo_loss(*map(torch.tensor, FOUR), 0.1), torch.Tensor)


def test_impossible_settings_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="0 <= share < 0.5"):
        losses.robust_dpo_loss(*FOUR, 0.1, 0.5)
    with pytest.raises(ValueError, match="a score gap is 0 or less"):
        losses.odpo_loss(*FOUR, 0.1, np.array([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="n of at least 2"):
        losses.bonbon_loss(*FOUR, n=1)
