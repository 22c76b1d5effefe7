"""Training settings: what they refuse, in one sentence."""

from dataclasses import asdict, replace

import pytest

from lib.training.settings import DPOSettings, SFTSettings, TrainingSettings


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
    (DPOSettings, {"label_smoothing": 0.1, "loss": "ipo"},
     "label_smoothing is 0.1, which loss=ipo does not use; use 0, or loss dpo or robust"),
])
def test_a_setting_that_cannot_be_used_is_one_sentence(kind: type[TrainingSettings], wrong: dict,
                                                       message: str) -> None:
    with pytest.raises(ValueError, match="^") as error:
        kind(**wrong)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_changed_copy_is_checked_too() -> None:
    settings = replace(DPOSettings(), beta="2e-1")
    assert settings.beta == 0.2
    assert DPOSettings(**asdict(settings)) == settings
    with pytest.raises(ValueError, match="token_budget is -3; use a whole number of at least 1"):
        replace(settings, token_budget=-3)


def test_the_defaults_are_the_papers_examples_a_step() -> None:
    assert SFTSettings().batch_size == 2 * 8
    assert DPOSettings().batch_size == 4 * 8
