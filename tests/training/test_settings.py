"""Training settings: what they refuse, in one sentence."""

import re
from dataclasses import asdict, replace

import pytest

from lib.training.settings import LOSS_SETTINGS, DPOSettings, SFTSettings, TrainingSettings


@pytest.mark.parametrize(("kind", "wrong", "message"), [
    (SFTSettings, {"compile": True}, "unknown setting compile; known here: learning_rate, epochs"),
    (SFTSettings, {"accumulation": 8}, "accumulation is 8, which is part of batch_size now; set"),
    (SFTSettings, {"learning_rate": 0}, "learning_rate is 0; use a number above 0"),
    (SFTSettings, {"batch_size": 0}, "batch_size is 0; use a whole number of at least 1"),
    (SFTSettings, {"batch_size": 1.5}, "batch_size is 1.5; use a whole number of at least 1"),
    (SFTSettings, {"warmup_share": 1.0},
     "warmup_share is 1.0; use a number of at least 0 and below 1"),
    (SFTSettings, {"schedule": "steep"},
     "schedule is 'steep'; use one of linear, cosine, constant"),
    (DPOSettings, {"beta": -1}, "beta is -1; use a number above 0"),
    (DPOSettings, {"label_smoothing": 0.5},
     "label_smoothing is 0.5; use a number of at least 0 and below 0.5"),
    (DPOSettings, {"label_smoothing": 0, "loss": "robust"},
     "label_smoothing is 0.0, with which loss=robust is plain DPO; use a share above 0"),
    (DPOSettings, {"label_smoothing": 0, "loss": "cdpo"}, "label_smoothing is 0.0, with which"),
    (DPOSettings, {"beta": 0.1, "loss": "bonbon"}, "beta is 0.1, which loss=bonbon does not read"),
    (DPOSettings, {"best_of": 1, "loss": "bonbon"},
     "best_of is 1; use a whole number of at least 2"),
    (DPOSettings, {"filtered_share": 1, "loss": "beta_dpo"},
     "filtered_share is 1; use a number of at least 0 and below 1"),
    (DPOSettings, {"kl_horizon": 100}, "kl_horizon is 100 without a kl_target; set kl_target too"),
    (DPOSettings, {"kl_target": 0}, "kl_target is 0; use a number above 0"),
    (DPOSettings, {"kl_target": 6}, "kl_target is 6 with evaluate_every 0, so that beta would"),
    (DPOSettings, {"kl_target": 6, "evaluate_every": 2, "loss": "simpo"},
     "kl_target is 6, which loss=simpo does not read"),
    (DPOSettings, {"kl_target": 6, "evaluate_every": 2, "loss": "bonbon"},
     "kl_target is 6, which loss=bonbon does not read"),
    (DPOSettings, {"kl_target": 6, "evaluate_every": 2, "batch_size": 16, "kl_horizon": 6},
     "kl_horizon is 6, so few that beta could fall below 0 in the 32 pairs between two"),
    (DPOSettings, {"order": "random"}, "order is 'random'; use"),
])
def test_a_setting_that_cannot_be_used_is_one_sentence(kind: type[TrainingSettings], wrong: dict,
                                                       message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}.*\Z"):  # "." is no line break
        kind(**wrong)


OWN = {"beta": 0.3, "label_smoothing": 0.2, "gamma_beta_ratio": 0.4, "offset_alpha": 0.6,
       "offset": "identity", "calibration_weight": 0.7, "beta_strength": 0.8,
       "filtered_share": 0.1, "gap_momentum": 0.5, "sft_weight": 0.4, "best_of": 8,
       "sft_share": 0.05}


@pytest.mark.parametrize("loss", LOSS_SETTINGS)
@pytest.mark.parametrize("name", OWN)
def test_a_loss_takes_its_own_settings_and_refuses_the_others(loss: str, name: str) -> None:
    if name in LOSS_SETTINGS[loss]:
        assert DPOSettings(loss=loss, **{name: OWN[name]}).of_loss()[name] == OWN[name]
    else:
        with pytest.raises(ValueError, match=rf"^{name} is {OWN[name]}, which loss={loss} does not "
                                             "read; leave it out, or use loss [a-z_ ]+$"):
            DPOSettings(loss=loss, **{name: OWN[name]})


def test_each_loss_has_its_own_defaults_and_holds_nothing_that_it_does_not_read() -> None:
    for loss, defaults in LOSS_SETTINGS.items():
        settings = DPOSettings(loss=loss)
        assert settings.of_loss() == defaults
        assert settings.in_force().keys() & OWN.keys() == defaults.keys()
        assert DPOSettings(**asdict(settings)) == settings  # as a job's file holds it
    assert (DPOSettings().beta, DPOSettings(loss="simpo").beta) == (0.1, 2.0)


def test_a_changed_copy_is_checked_too() -> None:
    settings = replace(DPOSettings(), beta="2e-1")
    assert settings.beta == 0.2
    assert DPOSettings(**asdict(settings)) == settings
    with pytest.raises(ValueError, match="token_budget is -3; use a whole number of at least 1"):
        replace(settings, token_budget=-3)


def test_the_defaults_are_the_papers_examples_a_step() -> None:
    assert SFTSettings().batch_size == 2 * 8
    assert DPOSettings().batch_size == 4 * 8
