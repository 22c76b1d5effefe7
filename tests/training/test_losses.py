"""Losses against the method vectors, TRL's formulas and hand calculation."""

import json
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from lib import ROOT
from lib.training import dpo, losses
from lib.training.dpo import LOSSES, DPOObjective
from lib.training.pairs import Pair, PairRow
from lib.training.settings import LOSS_SETTINGS, DPOSettings

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


def test_eight_micro_batches_are_one_mean_over_their_tokens_and_not_a_mean_of_means() -> None:
    vector = VECTORS["1_sft_ga8"]
    counts, means = (vector["in"][key] for key in ("response_tokens", "microbatch_mean_nll"))
    parts = [losses.sft_loss(np.full(count, -mean), np.ones(count), tokens=sum(counts))
             for count, mean in zip(counts, means, strict=True)]
    assert sum(parts) == pytest.approx(vector["out"]["correct"], abs=1e-9)
    assert np.mean(means) == pytest.approx(vector["out"]["wrong"])


def test_sft_loss_without_a_response_token_is_an_error_not_a_nan() -> None:
    with pytest.raises(ValueError, match="no response token"):
        losses.sft_loss(np.zeros(3), np.zeros(3))


def test_the_dpo_family_agrees_with_the_vectors() -> None:
    beta = FAMILY["beta"]
    close(losses.dpo_loss(*FOUR, beta).mean(), 0.673291222425)
    close(losses.dpo_loss(*FOUR, beta, label_smoothing=0.1).mean(), 0.678291222425)
    close(losses.robust_dpo_loss(*FOUR, beta, 0.1).mean(), 0.667041222425)
    close(losses.ipo_loss(*FOUR, beta).mean(), 24.125)
    close(losses.ipo_loss(*FOUR, beta), VECTORS["2_dpo_family"]["out"]["ipo_summed_logps_original"])
    close(losses.ipo_per_token_loss(*FOUR, beta, *LENGTHS),
          VECTORS["2_dpo_family"]["out"]["ipo_per_token_TRL"])
    close(losses.length_normalised_dpo_loss(*FOUR, 0.1, *LENGTHS).mean(), 0.691254583607)
    close(losses.length_normalised_dpo_loss(*FOUR, 5.0, *LENGTHS).mean(), 0.636576559396)
    close(losses.simpo_loss(*FOUR, 2.0, *LENGTHS, gamma=1.0).mean(), 1.7088088267)


def test_every_pair_of_the_family_agrees_with_the_vectors() -> None:
    expected = VECTORS["2_dpo_family"]["out"]
    close(losses.dpo_loss(*FOUR, 0.1), expected["dpo"])
    close(losses.dpo_loss(*FOUR, 0.1, label_smoothing=0.1), expected["cdpo"])
    close(losses.robust_dpo_loss(*FOUR, 0.1, 0.1), expected["robust"])
    for beta, name in ((0.1, "length_normalised_beta0p1"), (5.0, "length_normalised_beta5")):
        close(losses.length_normalised_dpo_loss(*FOUR, beta, *LENGTHS), expected[name])
    close(losses.simpo_loss(*FOUR, 2.0, *LENGTHS, gamma=1.0), expected["simpo"])
    optimum = expected["cdpo_optimum_margin_logit"]  # of beta d, where the gradient is 0
    gap = torch.tensor([optimum / 0.1], dtype=torch.float64, requires_grad=True)
    losses.dpo_loss(gap, 0 * gap.detach(), 0, 0, 0.1, 0.1).sum().backward()
    close(gap.grad, [0.0])


def test_the_papers_loss_margin_and_accuracy_are_possible_together() -> None:
    given, expected = (VECTORS["2_seed_consistency"][part] for part in ("in", "out"))

    def loss(margin: np.ndarray) -> np.ndarray:
        return losses.dpo_loss(margin, 0 * margin, 0 * margin, 0 * margin, 1.0)
    close(loss(np.array([given["margin"], 0.0])),
          [expected["loss_if_margin_were_constant"], expected["loss_at_init"]])
    sd = given["margin"] / norm.ppf(given["accuracy"])
    close(sd, expected["sd_of_margin_implied_by_gaussian"])
    mean, _ = quad(lambda z: norm.pdf(z) * loss(np.array([given["margin"] + sd * z]))[0], -12, 12,
                   epsabs=1e-12)
    close(mean, expected["expected_loss_gaussian"])


def test_odpo_cal_dpo_and_bonbon_agree_with_the_vectors() -> None:
    odpo = VECTORS["3_odpo"]["in"]
    gaps = np.array(odpo["score_chosen"]) - np.array(odpo["score_rejected"])
    close(losses.odpo_loss(*FOUR, 0.1, gaps), VECTORS["3_odpo"]["out"]["loss_log"])
    close(losses.odpo_loss(*FOUR, 0.1, gaps, offset="identity"),
          VECTORS["3_odpo"]["out"]["loss_identity"])
    for beta, expected in VECTORS["3_caldpo"]["out"].items():
        for coefficient, total in ((1.0, "total_coef1_mean"), (0.5, "total_coef_half_mean")):
            got = losses.cal_dpo_loss(*FOUR, float(beta), coefficient).mean()
            np.testing.assert_allclose(got, expected[total], rtol=1e-11)
    bonbon = VECTORS["4_bonbon"]["in"]
    chosen = -np.array(bonbon["nll_best_summed"])
    gap = np.array(bonbon["gap_logratio_best_minus_worst"])
    close(losses.bonbon_loss(chosen, 0 * gap, chosen - gap, 0 * gap, n=4).mean(), 1.04083333333)


def test_dpo_with_sft_is_dpo_plus_the_chosen_answers_loss_a_token() -> None:
    nll = -FOUR[0] / LENGTHS[0]
    close(losses.dpo_sft_loss(*FOUR, 0.1, LENGTHS[0], 0.3), losses.dpo_loss(*FOUR, 0.1) + 0.3 * nll)
    equal = np.full(4, 16)  # of equal lengths, a mean over tokens is the mean over answers: TRL's
    close(losses.dpo_sft_loss(*FOUR, 0.1, equal).mean() - losses.dpo_loss(*FOUR, 0.1).mean(),
          -FOUR[0].sum() / equal.sum())


def test_every_loss_is_dpo_or_another_known_one_in_its_limit() -> None:
    plain, gaps, one = losses.dpo_loss(*FOUR, 0.1), np.array([2.0, 0.2, 0.5, 2.5]), np.ones(4)
    close(losses.robust_dpo_loss(*FOUR, 0.1, 0.0), plain)
    close(losses.odpo_loss(*FOUR, 0.1, gaps, alpha=0.0), plain)
    close(losses.odpo_loss(*FOUR, 0.1, one), plain)  # the log of a gap of 1 is no offset
    close(losses.dpo_sft_loss(*FOUR, 0.1, LENGTHS[0], 0.0), plain)
    close(losses.dpo_sft_loss(*FOUR, 0.1, LENGTHS[0], 1e12) / 1e12, -FOUR[0] / LENGTHS[0])
    close(losses.cal_dpo_loss(*FOUR, 0.1, coefficient=0.0), losses.dpo_loss(*FOUR, 1.0))
    close(losses.ipo_per_token_loss(*FOUR, 0.1, one, one), losses.ipo_loss(*FOUR, 0.1))
    close(losses.length_normalised_dpo_loss(*FOUR, 0.1, one, one), plain)
    no_reference = [*FOUR[:2], 0 * FOUR[2], 0 * FOUR[3]]
    close(losses.simpo_loss(*FOUR, 0.1, one, one, gamma=0.0), losses.dpo_loss(*no_reference, 0.1))
    close(losses.bonbon_loss(*FOUR, n=2, alpha=0.0), losses.ipo_loss(*FOUR, 0.5))  # target 1
    close(losses.bonbon_loss(*FOUR, n=4, alpha=0.0), losses.ipo_loss(*FOUR, 1 / 11))  # 5.5
    close(losses.bonbon_loss(*FOUR, n=2, alpha=1.0), -FOUR[0])


def test_the_robust_loss_is_dpos_loss_on_clean_labels_in_expectation() -> None:
    flipped = [FOUR[1], FOUR[0], FOUR[3], FOUR[2]]
    close(0.7 * losses.robust_dpo_loss(*FOUR, 0.1, 0.3)
          + 0.3 * losses.robust_dpo_loss(*flipped, 0.1, 0.3), losses.dpo_loss(*FOUR, 0.1))


@pytest.mark.parametrize("loss", LOSS_SETTINGS)
def test_gradients_of_every_loss_are_those_of_finite_differences(loss: str) -> None:
    made = objective(loss)
    reference = [torch.tensor(part) for part in FOUR[2:]]

    def of_policy(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return LOSSES[loss]((chosen, rejected, *reference, made.settings.beta), made.settings,
                            made.pairs)
    assert torch.autograd.gradcheck(of_policy, [torch.tensor(part, requires_grad=True)
                                                for part in FOUR[:2]])


def objective(loss: str, **settings: Any) -> DPOObjective:
    """The vectors' pairs, their answers as long as the vectors say, with score gaps of 2."""
    pairs = [Pair(str(place), (1,), (2,) * chosen, (3,) * rejected, 2.0)
             for place, (chosen, rejected) in enumerate(zip(*LENGTHS, strict=True))]
    return DPOObjective(pairs, torch.tensor(np.stack(FOUR[2:], 1)),
                        DPOSettings(loss=loss, **settings))


def weight(loss: str, gap: float, tokens: int = 40, **settings: Any) -> float:
    """|d loss / d log p(chosen)| of a pair whose two answers moved apart by `gap` nats."""
    chosen = torch.tensor([gap / 2], requires_grad=True)
    four = chosen, torch.tensor([-gap / 2]), torch.zeros(1), torch.zeros(1)
    pair = Pair("", (1,), (2,) * tokens, (3,) * tokens, 2.0)
    settings = DPOSettings(loss=loss, **settings)
    LOSSES[loss]((*four, settings.beta), settings, [pair]).sum().backward()
    return abs(float(chosen.grad))


@pytest.mark.parametrize("loss", sorted(set(LOSS_SETTINGS) - {"dpo_sft"}))  # its SFT part never
def test_at_its_defaults_a_loss_lets_go_of_a_pair_that_is_well_in_order(loss: str) -> None:
    """Within 3 nats a token; length-normalised losses at DPO's beta push all pairs alike."""
    least = min(weight(loss, gap) for gap in (2, 5, 10, 40, 120))
    assert least < weight(loss, 0) / 4


@pytest.mark.parametrize(("loss", "settings"), [
    ("simpo", {"beta": 0.1, "gamma_beta_ratio": 10}), ("length_normalised", {"beta": 0.1})])
def test_at_dpos_beta_a_loss_of_token_means_would_be_flat(loss: str, settings: dict) -> None:
    assert weight(loss, 120, **settings) > 0.8 * weight(loss, 0, **settings)


@pytest.mark.parametrize("loss", sorted(set(LOSS_SETTINGS) - {"dpo", "beta_dpo"}))  # beta differs
def test_no_loss_is_plain_dpo_under_another_name(loss: str) -> None:
    gaps = (-20, 0, 20)
    assert [weight(loss, gap) for gap in gaps] != pytest.approx(
        [weight("dpo", gap) for gap in gaps], rel=1e-3)


def test_cdpo_is_dpo_with_its_share_of_label_smoothing() -> None:
    for gap in (-20, 0, 20):
        assert weight("cdpo", gap) == weight("dpo", gap, label_smoothing=0.1)


@pytest.mark.parametrize(("loss", "settings"), [
    ("robust", {"label_smoothing": 0.3}), ("simpo", {"gamma_beta_ratio": 0.1}),
    ("odpo", {"offset_alpha": 0.2}), ("odpo", {"offset": "identity"}),
    ("cal_dpo", {"calibration_weight": 2.0}), ("ipo", {"beta": 0.2}),
    ("ipo_per_token", {"beta": 0.1}), ("dpo_sft", {"sft_weight": 0.2}), ("bonbon", {"best_of": 8}),
    ("bonbon", {"sft_share": 0.5})])
def test_a_coefficient_that_is_set_reaches_the_loss(loss: str, settings: dict) -> None:
    assert weight(loss, 3, **settings) != pytest.approx(weight(loss, 3), rel=1e-2)


def test_a_loss_that_is_given_no_coefficient_takes_the_one_of_the_settings() -> None:
    for given, name, setting in ((losses.cal_dpo_loss, "cal_dpo", "calibration_weight"),
                                 (losses.robust_dpo_loss, "robust", "label_smoothing")):
        close(given(*FOUR, 0.1), given(*FOUR, 0.1, LOSS_SETTINGS[name][setting]))
    bonbon = LOSS_SETTINGS["bonbon"]
    close(losses.bonbon_loss(*FOUR, bonbon["best_of"]),
          losses.bonbon_loss(*FOUR, 4, bonbon["sft_share"]))
    close(losses.simpo_loss(*FOUR, 2.0, *LENGTHS),
          losses.simpo_loss(*FOUR, 2.0, *LENGTHS, 2.0 * LOSS_SETTINGS["simpo"]["gamma_beta_ratio"]))
    close(losses.dpo_sft_loss(*FOUR, 0.1, LENGTHS[0]),
          losses.dpo_sft_loss(*FOUR, 0.1, LENGTHS[0], LOSS_SETTINGS["dpo_sft"]["sft_weight"]))


def test_a_loss_that_counts_tokens_takes_each_answers_own() -> None:
    for loss, by_hand, lengths in (("ipo_per_token", losses.ipo_per_token_loss, LENGTHS),
                                   ("simpo", losses.simpo_loss, LENGTHS),
                                   ("length_normalised", losses.length_normalised_dpo_loss,
                                    LENGTHS),
                                   ("dpo_sft", losses.dpo_sft_loss, LENGTHS[:1])):
        made = objective(loss)
        beta = made.settings.beta
        close(LOSSES[loss]((*map(torch.tensor, FOUR), beta), made.settings, made.pairs),
              by_hand(*FOUR, beta, *lengths))


def rewards_of(loss: str, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[dict, dict]:
    """Metrics of the vectors' pairs summed, and what is kept of each pair."""
    made = objective(loss, **settings)
    row = PairRow(None, tuple(range(4)), torch.arange(4), torch.arange(4, 8))
    monkeypatch.setattr(dpo, "response_logps", lambda *_: torch.tensor(np.concatenate(FOUR[:2])))
    return made.loss(None, row)[1], made.rewards(None, row)


def test_rewards_are_those_that_the_loss_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = FOUR[0] - FOUR[2], FOUR[1] - FOUR[3]
    expected = {"dpo": [0.1 * gain for gain in gains], "ipo": [0.1 * gain for gain in gains],
                "bonbon": [gain / 11 for gain in gains],  # of best of 4: 1 / (2 * 5.5)
                "ipo_per_token": [4 * gain / n for gain, n in zip(gains, LENGTHS, strict=True)],
                "length_normalised": [5 * gain / n for gain, n in zip(gains, LENGTHS, strict=True)],
                "simpo": [2 * logps / n for logps, n in zip(FOUR[:2], LENGTHS, strict=True)]}
    for loss, (chosen, rejected) in expected.items():
        metrics, kept = rewards_of(loss, monkeypatch)
        close(kept["chosen"], chosen)
        close(kept["rejected"], rejected)
        close([kept["chosen_gain"], kept["rejected_gain"]], gains)
        close(metrics["rewards/margins"], (chosen - rejected).sum())


def test_simpo_reads_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    known, _ = rewards_of("simpo", monkeypatch)
    monkeypatch.setitem(globals(), "FOUR", [*FOUR[:2], *(0 * part + np.nan for part in FOUR[2:])])
    assert rewards_of("simpo", monkeypatch)[0] == known


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
    with pytest.raises(ValueError, match="offset is 'root'; use log or identity"):
        losses.odpo_loss(*FOUR, 0.1, np.ones(4), offset="root")
    with pytest.raises(ValueError, match="n of at least 2"):
        losses.bonbon_loss(*FOUR, n=1)
