"""The stage that chooses DPO's pairs: every choice, its counts, and who reads them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from lib.data.parquet import read_parquet
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_json, write_json
from lib.study.planning.dry_run import smaller
from lib.study.pools import chosen
from lib.study.pools.chosen import choose_pairs
from lib.study.profiles import load_profile
from lib.study.run import Study, StudyError, open_study
from lib.study.stages.data import load_part, part_file, prepare_data
from lib.study.stages.dpo import dpo_job
from lib.training.dpo import train_dpo

ORDER = {"dpo.order": "file"}
CHOICES: dict[str, dict[str, Any]] = {
    "label_noise": {"data.label_noise": 0.2}, "margin": {"data.margin": 3.0},
    "fdpo": {"data.fdpo_threshold": 0.0, "data.fdpo_samples": 2},
    "clusters": {"data.clusters": 3},
    "score": ORDER | {"data.curriculum": "score_gap"},
    "reference": ORDER | {"data.curriculum": "reference_gap"}}


class ByLength:
    """A selector for which a longer answer is better, so that the choice is known."""

    def __init__(self, study: Study, roles: list[str]) -> None:
        assert roles == ["selector"]

    def score(self, conversations: list) -> dict[str, list[float | None]]:
        return {"selector": [float(len(turns[-1]["content"])) for turns in conversations]}


@pytest.fixture(autouse=True)
def _known_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "Scorer", ByLength)
    monkeypatch.setattr(chosen, "fit_rewards", lambda _, says: None)


def prepared(folder: Path, settings: dict[str, Any]) -> Study:
    """A run whose data are prepared and whose SFT model is the untrained one."""
    study = open_study("smoke", str(folder), settings)
    prepare_data(study)
    shutil.copytree(smoke_model(), study.path("sft", "model"))
    write_json(study.path("sft", "manifest.json"), {"outputs": {"model": "trained"}})
    return study


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_is_made_through_the_stage_counted_and_read_by_dpo(tmp_path: Path,
                                                                    choice: str) -> None:
    study = prepared(tmp_path, CHOICES[choice])
    before = load_part(study, "preferences")
    report = choose_pairs(study)
    after = load_part(study, "preferences")
    assert report == read_json(study.path("chosen_pairs", "report.json"))
    assert report[-1]["pairs"] == len(after) <= len(before) == 32
    assert after != before == load_part(study, "preferences", chosen=False)
    assert Path(dpo_job(study, study.path("dpo")).rows) == study.path("chosen_pairs",
                                                                     "preferences.parquet")
    assert part_file(study, "preferences_validation") == study.path(
        "data", "preferences_validation.parquet")
    if choice == "label_noise":
        assert len(report[0]["flipped"]) == round(0.2 * 32)
    if choice == "fdpo":  # the untrained model writes long answers or short ones
        assert 0 < len(after) < 32
    if choice == "score":
        gaps = [row["score_chosen"] - row["score_rejected"] for row in after]
        assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize("choice", ["margin", "reference"])
def test_the_random_control_has_as_many_pairs(tmp_path: Path, choice: str) -> None:
    own, control = (prepared(tmp_path / str(random), {
        **CHOICES[choice], "data.random_control": random}) for random in (False, True))
    counts = [choose_pairs(study)[-1]["pairs"] for study in (own, control)]
    assert counts[0] == counts[1]
    assert load_part(own, "preferences") != load_part(control, "preferences")


def test_without_a_choice_there_is_no_stage(tmp_path: Path) -> None:
    study = prepared(tmp_path, {})
    assert choose_pairs(study) is None
    assert not study.path("chosen_pairs").exists()


def test_a_choice_that_leaves_nothing_names_the_setting_and_the_remedy(tmp_path: Path) -> None:
    study = prepared(tmp_path, {"data.margin": 50.0})
    with pytest.raises(StudyError, match=r"margin=50; the widest gap is [\d.]+, set a smaller"):
        choose_pairs(study)


def test_dpo_trains_on_chosen_pairs_in_their_order(tmp_path: Path) -> None:
    study = prepared(tmp_path, CHOICES["score"])
    choose_pairs(study)
    job = dpo_job(study, study.path("dpo"))
    assert read_parquet(job.rows) == load_part(study, "preferences")
    train_dpo(job)
    assert (study.path("dpo", "model") / "model.safetensors").exists()


@pytest.mark.parametrize(("settings", "message"), [
    ({"data.curriculum": "score_gap"}, "dpo.order is null, which would shuffle it away; set"),
    ({"dpo.loss": "bonbon"}, "set data.pairs_per_prompt=best_worst"),
    ({"dpo.loss": "bonbon", "data.pairs": "written", "data.pairs_per_prompt": "best_worst"},
     "and data.pairs to on_policy or self_generated"),
    ({"dpo.loss": "bonbon", "dpo.best_of": 8, "data.pairs": "self_generated",
      "data.pairs_per_prompt": "best_worst"}, "dpo.best_of is 8, and the pairs are .* = 4; set"),
    ({"dpo.kl_target": 6, "evaluation.probe_prompts": 0}, "so that no KL would be measured")])
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_profile("smoke", settings)


@pytest.mark.parametrize("settings", [
    *CHOICES.values(), {"data.margin": 4.0, "data.clusters": 32, "data.fdpo_threshold": -1.0},
    {"dpo.kl_target": 3.0, "dpo.kl_horizon": 1000}, {"dpo.loss": "beta_dpo"},
    {"dpo.loss": "bonbon", "data.pairs": "self_generated",
     "data.pairs_per_prompt": "best_worst"}])
def test_the_dry_run_has_a_profile_that_leaves_pairs_and_can_be_built(settings: dict) -> None:
    small = smaller(load_profile("smoke", settings), 8)
    assert small.data.clusters in (None, 2)
    assert small.data.margin is None or small.data.margin < 0.01
    assert small.data.pairs != "self_generated"
