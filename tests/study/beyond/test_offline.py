"""Arms of fixed pairs: the pairs and settings that each trains with, and its random control."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.schema import prompt_text
from lib.modeling.smoke import smoke_model
from lib.runtime.files import Row, write_json, write_jsonl
from lib.study.beyond import arm
from lib.study.beyond.arm import ArmError, ArmRun
from lib.study.beyond.catalogue import ARMS, FAMILY
from lib.study.beyond.settings import ANCHOR
from lib.study.pools import chosen
from lib.study.profiles import load_profile
from lib.study.run import Study
from lib.study.stages.data import prepare_data
from lib.training.settings import LOSS_SETTINGS, DPOSettings
from tests.study.pools.test_chosen import ByLength


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A run whose data are prepared and whose SFT model is the untrained one."""
    study = Study(load_profile("smoke", {"beyond.prompts": 16}), tmp_path_factory.mktemp("run"))
    prepare_data(study)
    shutil.copytree(smoke_model(), study.path("sft", "model"))
    write_json(study.path("sft", "manifest.json"), {"outputs": {"model": "trained"}})
    write_jsonl(study.path("arms", ANCHOR, "kl.jsonl"), [{"kl": 1.0}, {"kl": 3.0}])
    return study


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an arm trains with; nothing is trained, and longer answers are better."""
    seen: dict[str, Any] = {}

    def train(run: ArmRun, method: str, rows: list[Row], settings: DPOSettings,
              **more: Any) -> Path:
        seen.update(rows=rows, settings=settings, **more)
        return run.folder

    def long_or_short(run: ArmRun) -> list[Row]:
        return [row | {"candidates": [{"text": "x" * 20 * (place % 20), "tokens": 1,
                                       "rewards": {"selector": 20.0 * (place % 20)}}]}
                for place, row in enumerate(run.prompts)]
    monkeypatch.setattr(ArmRun, "train", train)
    monkeypatch.setattr(ArmRun, "first_answers", long_or_short)
    monkeypatch.setattr(chosen, "Scorer", ByLength)
    return seen


def trains_on(study: Study, trained: dict[str, Any], name: str) -> list[Row]:
    ARMS[name].train(ArmRun(study, name))
    return trained["rows"]


@pytest.mark.parametrize("loss", FAMILY)
def test_an_arm_of_a_loss_trains_on_the_same_pairs_with_that_loss_own_defaults(
        study: Study, trained: dict, loss: str) -> None:
    assert trains_on(study, trained, loss) == ArmRun(study, loss).pairs()
    assert trained["settings"].of_loss() == LOSS_SETTINGS[loss]
    assert trained["settings"].learning_rate == study.profile.dpo.learning_rate


@pytest.mark.parametrize("choice", ["margin", "fdpo", "clusters"])
def test_a_choice_and_its_control_have_equally_many_pairs(study: Study, trained: dict,
                                                         choice: str) -> None:
    own, control = (trains_on(study, trained, name) for name in (choice, ARMS[choice].control))
    everything = ArmRun(study, choice).pairs()
    assert 0 < len(own) == len(control) < len(everything)
    assert own != control
    assert trained["settings"].loss == "dpo"
    if choice == "margin":
        gaps = [row["score_chosen"] - row["score_rejected"] for row in everything]
        assert {row["id"] for row in own} == {row["id"] for row, gap in zip(
            everything, gaps, strict=True) if gap >= np.median(gaps)}
    if choice == "fdpo":
        kept = {row["id"] for row in own}
        own_length = {prompt_text(row): 20 * (place % 20)
                      for place, row in enumerate(ArmRun(study, choice).prompts)}
        assert all((len(row["chosen"]) > own_length[prompt_text(row)]) == (row["id"] in kept)
                   for row in everything)


def test_a_curriculum_and_its_control_keep_the_order_of_the_same_pairs(study: Study,
                                                                      trained: dict) -> None:
    orders = {}
    for name in ("curriculum", "curriculum_reference", "curriculum_random"):
        orders[name] = [row["id"] for row in trains_on(study, trained, name)]
        assert trained["settings"].keeps_order
    pairs = {row["id"]: row for row in ArmRun(study, "x").pairs()}
    assert all(sorted(order) == sorted(pairs) for order in orders.values())
    assert len(set(map(tuple, orders.values()))) == 3
    gaps = [pairs[name]["score_chosen"] - pairs[name]["score_rejected"]
            for name in orders["curriculum"]]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize("loss", ["dpo", "cdpo", "robust"])
def test_flipped_labels_are_the_same_for_every_loss_and_told_to_those_that_ask(
        study: Study, trained: dict, loss: str) -> None:
    before = ArmRun(study, "x").pairs()
    flipped = {row["id"] for row, old in zip(trains_on(study, trained, f"{loss}_flipped20"),
                                             before, strict=True) if row != old}
    assert len(flipped) == round(0.2 * len(before))
    assert trained["settings"].label_smoothing == (0.0 if loss == "dpo" else 0.2)
    trains_on(study, trained, "dpo_flipped20")
    assert flipped == {row["id"] for row, old in zip(trained["rows"], before, strict=True)
                       if row != old}


def test_beta_is_steered_to_half_of_the_anchors_kl_and_needs_it(study: Study, trained: dict,
                                                               tmp_path: Path) -> None:
    trains_on(study, trained, "adaptive_beta")
    assert trained["settings"].kl_target == 1.0
    assert trained["settings"].evaluate_every >= 1
    assert trained["probe"].options["reference"] == str(study.path("sft", "model"))
    with pytest.raises(ArmError, match="which has not run; put offline_dpo before it"):
        ARMS["adaptive_beta"].train(ArmRun(Study(study.profile, tmp_path), "adaptive_beta"))


def test_pairs_without_scores_stop_the_arms_that_need_them_in_one_sentence(
        study: Study, trained: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    unscored = [row | {"score_chosen": None, "score_rejected": None}
                for row in ArmRun(study, "x").pairs()]
    monkeypatch.setattr(ArmRun, "pairs", lambda run: unscored)
    for name in ("margin", "curriculum"):
        with pytest.raises(ValueError, match="has no scores; .* on every pair: add them, or do"):
            ARMS[name].train(ArmRun(study, name))
    assert trains_on(study, trained, "curriculum_random") != unscored


def test_a_selector_that_answers_nothing_stops_filtered_dpo_in_one_sentence(
        study: Study, trained: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ByLength, "score", lambda self, conversations: {
        "selector": [None] * len(conversations)})
    with pytest.raises(ValueError, match="the reward model scored no answer"):
        ARMS["fdpo"].train(ArmRun(study, "fdpo"))


def test_arms_are_made_again_where_the_run_chose_other_pairs(study: Study) -> None:
    assert "chosen_pairs" not in arm.inputs_of(study)
    noisy = Study(load_profile("smoke", {"data.label_noise": 0.1}), study.folder)
    write_json(study.path("chosen_pairs", "manifest.json"), {"outputs": {"report.json": "1"}})
    assert "chosen_pairs" in arm.inputs_of(noisy)
    assert "chosen_pairs" not in arm.inputs_of(study)


def test_arms_are_made_again_where_the_reward_models_were_fitted_anew(study: Study) -> None:
    write_json(study.path("rewards", "manifest.json"), {"outputs": {"selector.npz": "1"}})
    first = arm.inputs_of(study, "raft")
    write_json(study.path("rewards", "manifest.json"), {"outputs": {"selector.npz": "2"}})
    write_json(study.path("arms", "raft", "manifest.json"), {"inputs": first})
    assert arm.inputs_of(study, "raft")["rewards"] != first["rewards"]
    del first["rewards"]  # as an earlier version wrote it
    write_json(study.path("arms", "raft", "manifest.json"), {"inputs": first})
    assert arm.inputs_of(study, "raft") == first
