"""A name that is a path and leads nowhere is told before anything else, and asked of no hub."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.data.hub import Place, open_hub
from lib.modeling.loading import ModelError, check_model
from lib.runtime.files import FileError, write_json
from lib.runtime.places import is_path
from lib.study.__main__ import main
from lib.study.planning.named import check_named
from lib.study.profiles import ProfileError
from lib.study.run import open_study

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(("name", "path"), [
    ("./modles/x", True), ("../x", True), ("~/x", True), ("/data/x", True), ("a/b/c", True),
    ("C:\\models\\x", True), ("models/", True), ("my model", True), ("$HOME/x", True),
    ("rows.jsonl", True), ("my/pairs.PARQUET", True),
    ("Qwen/Qwen2.5-0.5B", False), ("gpt2", False), ("owner/name@v2", False), ("", False)])
def test_a_path_is_told_from_the_id_of_a_hub(name: str, path: bool) -> None:
    assert is_path(name) == path


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"model.name": "./modles/x"}, "model.name: there is no folder ./modles/x; check the path"),
    ({"model.name": "~/modles/x"}, "model.name: there is no folder {home}/modles/x; check"),
    ({"model.name": "./modles/x", "data.source": "local", "data.sft_path": "./none.jsonl"},
     "model.name: there is no folder"),
    ({"model.name": "mine.yaml"}, "model.name: mine.yaml is a file; give the folder"),
    ({"model.name": "empty"}, "model.name: empty holds no config.json"),
    ({"rewards.selector": "../rm"}, "rewards.selector: there is no folder ../rm"),
    ({"rewards.judge": "runs/x/model"}, "rewards.judge: there is no folder runs/x/model"),
    ({"rewards.backbone": "/none/here"}, "rewards.backbone: there is no folder /none/here"),
    ({"data.source": "local", "data.sft_path": "mydata.jsonl"}, "mydata.jsonl does not exist; giv"),
    ({"data.source": "local", "data.sft_path": "owner/name"}, "or data.source=hub with the id of"),
    ({"data.source": "hub", "data.heldout_path": "./mydata"}, "./mydata does not exist, and is no"),
    ({"data.source": "hub", "data.sft_path": "mine.yaml"}, "and data.source is hub; set data.sour"),
    ({"data.references_path": "none.json"}, "none.json does not exist"),
    ({"data.sft_path": "./mydata.jsonl"}, "data.source is 'sample', which reads nothing of ./myd"),
    ({"data.heldout_path": "empty"}, "data.source is 'sample', which reads nothing of empty; set"),
])
def test_a_missing_file_is_told_before_the_plan(
        settings: dict[str, str], sentence: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("lib.study.planning.plan.plan_text", lambda *_: pytest.fail("planned"))
    (tmp_path / "mine.yaml").write_text("base: smoke", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    line = [f"{key}={value}" for key, value in settings.items()]
    assert main(["--profile", "laptop", "--run", "run", "--set", *line]) == 2
    said = capsys.readouterr().err
    assert sentence.format(home=tmp_path) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "tokenizer.model",
                                  "config.json", "model-00001-of-00002.safetensors"])
def test_a_pointer_in_a_models_folder_is_named_with_the_remedy(file: str, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "qwen2"})
    (tmp_path / "pytorch_model.bin").write_text(POINTER, encoding="utf-8")  # never read
    (tmp_path / file).write_text(POINTER, encoding="utf-8")
    sentence = rf"{file} is a Git LFS pointer .*run `git lfs pull` in {tmp_path}"
    for setting in ("model.name", "rewards.selector"):
        with pytest.raises(ProfileError, match=f"{setting}: .*{sentence}"):
            check_named(open_study("laptop", str(tmp_path / "run"), {setting: str(tmp_path)}))
    with pytest.raises(ModelError, match=sentence):
        check_model(str(tmp_path))


def test_a_hub_is_asked_for_ids_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_named(open_study("laptop", str(tmp_path), {"model.name": "modles/x"}))
    assert "model.name: modles/x is no folder here, so a hub is asked" in capsys.readouterr().out
    with pytest.raises(FileError, match="does not exist, and is no data set's id"):
        open_hub(Place("./talk", "", "train", ""))


def test_a_finished_run_needs_none_of_its_files_again(tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path), {
        "model.name": "./gone", "data.source": "local", "data.sft_path": "gone.jsonl"})
    for stage, missing in (("responses", r"\./gone"), ("data", r"gone\.jsonl")):
        with pytest.raises(ProfileError, match=missing):
            check_named(study)
        write_json(study.path(stage, "manifest.json"), {})
    check_named(study)
    with pytest.raises(ProfileError, match=r"\./gone"):  # which begins all of it again
        check_named(replace(study, force=True))
