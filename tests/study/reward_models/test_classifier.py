"""A reward model that is trained on the run's own pairs: one command, once, and then it scores."""

from pathlib import Path

import pytest

from lib.inference.rewards import conversation
from lib.inference.rewards.classifier import load_classifier
from lib.runtime.files import read_json, read_jsonl
from lib.study.reward_models.classifier import main

LINE = ["--profile", "smoke", "--set", "data.preference_rows=16", "reward_model.epochs=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "run"
    assert main([*LINE, "--run", str(folder)]) == 0
    return folder


def test_the_command_trains_a_model_that_scores_conversations_and_reports_its_accuracy(
        run: Path) -> None:
    folder = run / "reward_model"
    leads = read_jsonl(folder / "validation_rewards.jsonl")
    report = read_json(folder / "report.json")
    right = sum((lead["chosen"] > lead["rejected"]) + (lead["chosen"] == lead["rejected"]) / 2
                for lead in leads)
    assert report["n"] == len(leads) > 0
    assert report["accuracy"] == pytest.approx(right / len(leads))
    assert set(report["dropped"]) == {"preferences", "preferences_validation"}
    model = load_classifier(folder / "model")
    few, many = model.score([conversation("Why?", text) for text in ("No.", "Because it rains.")])
    assert None not in (few, many)
    assert few != many


def test_a_trained_model_is_not_trained_again_and_other_settings_are_refused(
        run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = (run / "reward_model" / "model" / "model.safetensors").stat().st_mtime_ns
    assert main([*LINE, "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"use it with --set rewards.selector={run / 'reward_model' / 'model'}" in said
    assert main([*LINE, "--run", str(run), "--set", "reward_model.margin=0.5"]) == 2
    assert "margin=0.0 (now 0.5)" in capsys.readouterr().err
    assert (run / "reward_model" / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_recomputing_activations_trains_the_same_model(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    assert main([*LINE, "--run", str(again), "--set",
                 "reward_model.activation_checkpointing=true"]) == 0
    found, expected = (read_json(folder / "reward_model" / "report.json")
                       for folder in (again, run))
    assert found == expected


@pytest.mark.parametrize(("words", "sentence"), [
    (["--profile", "huge"], "profile is 'huge'"),
    (["--set", "reward_model.lora_rank=4"], "lora_rank is 4; a reward model is trained whole"),
    (["--set", "reward_model.margins=1"], "did you mean reward_model.margin?"),
    (["--set", "reward_model.margin"], "write it as key=value")])
def test_a_line_that_cannot_work_is_one_sentence(
        words: list[str], sentence: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "smoke", "--run", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "reward_model").exists()
