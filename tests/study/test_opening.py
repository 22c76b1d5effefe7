"""A study is opened with its settings, however a notebook or papermill hands them over."""

from pathlib import Path

import pytest

from lib import ROOT
from lib.study.profiles import ProfileError
from lib.study.run import StudyError, open_study


def test_notebook_knobs_and_settings_reach_the_same_profile(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"dpo.beta": 0.3}, sft__epochs=2, dpo__loss=None)
    assert (study.profile.dpo.beta, study.profile.sft.epochs, study.profile.dpo.loss) == (
        0.3, 2.0, "dpo")


@pytest.mark.parametrize(("given", "expected"), [
    ("false", False), ("False", False), ("0", False), (0, False), ("no", False), ("", False),
    (None, False), ("off", False), ("true", True), ("True", True), (1, True), ("yes", True)])
def test_force_means_what_it_says_however_papermill_hands_it_over(
        tmp_path: Path, given: object, expected: bool) -> None:
    assert open_study("smoke", str(tmp_path), force=given).force is expected


def test_a_device_that_is_not_there_is_one_sentence_with_the_settings_name(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ProfileError, match="^model.device is cuda, but PyTorch sees no CUDA "
                                           "device; use device=cpu or auto$"):
        open_study("smoke", str(tmp_path), model__device="cuda")


def test_another_word_for_force_is_refused() -> None:
    with pytest.raises(StudyError, match="force is 'maybe'; use true or false"):
        open_study("smoke", force="maybe")


def test_a_run_folder_of_digits_is_a_folder() -> None:
    assert open_study("smoke", 7).folder == ROOT / "7"
    assert open_study("smoke", None).folder == ROOT / "runs" / "smoke"


@pytest.mark.parametrize("settings", [
    '{"dpo.beta": 0.3}', "{dpo.beta: 0.3}", "dpo.beta=0.3", "dpo: {beta: 3e-1}",
    {"dpo.beta": "0.3"}, {"dpo": {"beta": 0.3}}])
def test_settings_may_be_the_text_that_papermill_hands_over(settings: object) -> None:
    assert open_study("smoke", settings=settings).profile.dpo.beta == 0.3


@pytest.mark.parametrize("settings", ["dpo.beta", "[1]", 3, "{"])
def test_settings_that_are_none_are_refused_in_one_sentence(settings: object) -> None:
    with pytest.raises(StudyError, match="settings is"):
        open_study("smoke", settings=settings)


def test_a_number_or_a_switch_given_as_text_is_one() -> None:
    study = open_study("smoke", data__sft_rows="8", evaluation__warning_run="false")
    assert study.profile.data.sft_rows == 8
    assert study.profile.evaluation.warning_run is False
