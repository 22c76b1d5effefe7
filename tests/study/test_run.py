"""Stages: made once, skipped when nothing changed, refused when mixed, never half there."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT
from lib.runtime import files, lock, manifest
from lib.runtime.files import FileError, read_json, write_text
from lib.study.run import Study, StudyError, open_study, run_stage, stage_hash
from lib.study.stages.warning import run_warning
from lib.training.settings import DPOSettings


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return open_study("smoke", str(tmp_path / "run"))


class Work:
    """Writes a file and counts how often it was asked to."""

    def __init__(self, text: str = "made") -> None:
        self.text, self.calls = text, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "out.txt").write_text(self.text)


def make(study: Study, work: Work, parameters: dict | None = None,
         inputs: dict | None = None) -> Path:
    return run_stage(study, "stage", parameters or {"a": 1}, ["out.txt"], work,
                     inputs or {"data": "x"})


def test_an_unchanged_stage_is_skipped_with_one_line_that_says_how_to_force_it(
        study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    work = Work()
    make(study, work)
    make(study, work)
    assert work.calls == 1
    assert "manifest.json, skipped; force=True (or --force)" in capsys.readouterr().out


def test_a_stage_that_another_only_needs_is_skipped_without_a_word(
        study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    make(study, Work())
    capsys.readouterr()
    run_stage(study, "stage", {"a": 1}, ["out.txt"], Work(), {"data": "x"}, says=False)
    assert capsys.readouterr().out == ""


def test_force_makes_it_again(study: Study) -> None:
    work = Work()
    make(study, work)
    make(Study(study.profile, study.folder, force=True), work)
    assert work.calls == 2


def test_killed_while_an_old_stage_is_removed_no_part_of_it_is_left(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    make(study, Work())
    by_force, work = Study(study.profile, study.folder, force=True), Work("new")

    def killed(*_: object, **__: object) -> None:
        if study.path(".stage.removed").exists():
            raise KeyboardInterrupt
    with monkeypatch.context() as patched:
        patched.setattr(files.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            make(by_force, work)
    assert not study.path("stage").exists()
    assert (make(study, work) / "out.txt").read_text() == "new"
    make(by_force, work)
    assert not study.path(".stage.removed").exists()


def test_a_full_disk_in_a_stage_is_one_sentence_and_the_stage_goes_on_with_space(
        study: Study) -> None:
    def fills(folder: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")
    with pytest.raises(FileError, match="no space is left to write .*stage; free some and run"):
        make(study, fills)
    assert (make(study, Work()) / "out.txt").read_text() == "made"


def test_other_parameters_are_refused_by_name_and_nothing_is_lost(study: Study) -> None:
    folder = make(study, Work(), {"beta": 0.1, "same": [1, 2]})
    with pytest.raises(StudyError, match=r"beta=0\.1 \(now 0\.2\); choose another run folder"):
        make(study, Work("other"), {"beta": 0.2, "same": (1, 2)})
    assert (folder / "out.txt").read_text() == "made"


def test_a_folder_from_before_a_setting_existed_says_so_and_what_to_do(study: Study) -> None:
    make(study, Work(), {"dpo": {"beta": 0.1}})
    with pytest.raises(StudyError, match=r"was made by another version of this project, whose "
                                         r"settings differ in dpo\.loss; choose another run folder,"
                                         r" or force=True \(--force\) to replace it"):
        make(study, Work("new"), {"dpo": {"beta": 0.1, "loss": "dpo"}})


def test_another_loss_is_refused_by_its_name_though_it_has_other_settings(study: Study) -> None:
    make(study, Work(), {"dpo": DPOSettings().in_force()})
    with pytest.raises(StudyError, match=r"was made with dpo\.beta=0\.1 \(now 2\.0\); "
                                         r"dpo\.loss='dpo' \(now 'simpo'\); choose another run"):
        make(study, Work("new"), {"dpo": DPOSettings(loss="simpo").in_force()})


def test_equal_stages_of_another_run_are_copied_and_unequal_ones_made(
        study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make(study, Work("first"))
    other = open_study("smoke", str(tmp_path / "other"), from_run=str(study.folder))
    equal, unequal = Work(), Work("own")
    copied = make(other, equal)
    assert equal.calls == 0
    assert (copied / "out.txt").read_text() == "first"
    assert f"stage: copied from {source}" in capsys.readouterr().out
    third = open_study("smoke", str(tmp_path / "third"), from_run=str(study.folder))
    assert (make(third, unequal, {"a": 2}) / "out.txt").read_text() == "own"
    fourth = open_study("smoke", str(tmp_path / "fourth"), from_run=str(study.folder))
    assert (make(fourth, unequal, inputs={"data": "y"}) / "out.txt").read_text() == "own"
    said = capsys.readouterr().out
    for reason in ("which made it with a=1 (now 2)", "which made it from another data"):
        assert f"stage: not copied from {study.folder}, {reason}; made here" in said
    assert (source / "out.txt").read_text() == "first"


def test_an_arm_is_copied_from_the_other_runs_arm_and_found_like_any_stage(
        study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def made(one: Study, work: Work) -> str:
        return (run_stage(one, "arms/raft", {}, ["out.txt"], work) / "out.txt").read_text()
    assert made(study, Work("first")) == "first"
    other = open_study("smoke", str(tmp_path / "other"), from_run=str(study.folder))
    assert made(other, Work("own")) == "first"
    assert f"raft: copied from {study.path('arms', 'raft')}" in capsys.readouterr().out
    assert made(other, Work("own")) == "first"
    assert f"raft: found {other.path('arms', 'raft', 'manifest.json')}, skipped" in \
        capsys.readouterr().out


def test_a_model_beside_which_a_finished_run_wrote_its_card_is_copied_without_it(
        study: Study, tmp_path: Path) -> None:
    def train(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("first")

    def trained(one: Study) -> Path:
        return run_stage(one, "stage", {"a": 1}, ["model"], train, {"data": "x"})
    write_text(trained(study) / "model" / "README.md", "wins .62 in this run")
    copied = trained(open_study("smoke", str(tmp_path / "other"), from_run=str(study.folder)))
    assert read_json(copied / "manifest.json") == read_json(study.path("stage", "manifest.json"))
    assert [path.name for path in (copied / "model").iterdir()] == ["weights"]
    study.path("stage", "model", "weights").unlink()
    train_again = open_study("smoke", str(tmp_path / "third"), from_run=str(study.folder))
    assert (trained(train_again) / "model" / "weights").read_text() == "first"


def test_a_stage_that_is_not_what_its_manifest_says_is_not_copied(
        study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make(study, Work("first"))
    (source / "out.txt").write_text("edited since")
    for name, sentence in (("other", "whose files are no longer those that its manifest names"),
                           ("third", "which has not finished it")):
        one = open_study("smoke", str(tmp_path / name), from_run=str(study.folder))
        assert (make(one, Work("own")) / "out.txt").read_text() == "own"
        assert f"stage: not copied from {study.folder}, {sentence}" in capsys.readouterr().out
        (source / "manifest.json").unlink(missing_ok=True)


def test_a_run_to_copy_from_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"\(--from-run\) is 'runs/nowhere', and there is no such"):
        open_study("smoke", str(tmp_path), from_run="runs/nowhere")


def test_changed_inputs_make_it_again_and_say_which(
        study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    work = Work()
    make(study, work)
    make(study, work, inputs={"data": "y"})
    assert work.calls == 2
    assert "made again, because data changed" in capsys.readouterr().out


def test_a_stage_that_was_cut_short_is_gone_on_with_in_its_folder(study: Study) -> None:
    def killed(folder: Path) -> None:
        (folder / "partial.txt").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        make(study, killed)
    seen = []

    def resumed(folder: Path) -> None:
        seen.append((folder / "partial.txt").read_text())
        (folder / "out.txt").write_text("made")
    make(study, resumed)
    assert seen == ["half"]


def test_a_stage_that_never_finished_may_be_begun_again_with_other_settings(
        study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    def killed(folder: Path) -> None:
        (folder / "partial.txt").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        make(study, killed, {"epochs": 1})
    folder = make(study, Work(), {"epochs": 2})
    assert "stage: partial work with epochs=1 (now 2) is replaced" in capsys.readouterr().out
    assert not (folder / "partial.txt").exists()
    assert (folder / "out.txt").exists()


def test_what_was_begun_on_other_inputs_is_not_gone_on_with(
        study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    def killed(folder: Path) -> None:
        (folder / "partial.txt").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        make(study, killed, inputs={"data": "x", "sft": "s"})
    folder = make(study, Work(), inputs={"data": "y", "sft": "s"})
    assert "stage: partial work is replaced, because data changed" in capsys.readouterr().out
    assert not (folder / "partial.txt").exists()


MAKER = """
import sys, time
from pathlib import Path
from lib.study.run import open_study, run_stage
def work(folder):
    (folder / "out.txt").write_text("made")
    print("working", flush=True)
    time.sleep(60)
run_stage(open_study("smoke", sys.argv[1]), "stage", {"a": 1}, ["out.txt"], work, {"data": "x"})
"""


def test_one_process_makes_a_stage_and_a_dead_one_holds_nobody_up(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    with subprocess.Popen([sys.executable, "-c", MAKER, str(study.folder)], cwd=ROOT,
                          stdout=subprocess.PIPE, text=True) as other:
        while "working" not in other.stdout.readline():
            assert other.poll() is None
        with pytest.raises(StudyError, match=rf"being made: process {other.pid} has worked on it "
                                             r"since \d{4}-\d\d-\d\d .*; wait until"):
            make(study, Work("mine"))
        other.kill()
        other.wait()
    assert (make(study, Work("mine")) / "out.txt").read_text() == "mine"


def test_a_missing_output_is_made_again(study: Study) -> None:
    work = Work()
    (make(study, work) / "out.txt").unlink()
    make(study, work)
    assert work.calls == 2


def test_the_manifest_says_what_with_what_and_how_long(study: Study) -> None:
    folder = make(study, Work())
    manifest = read_json(folder / "manifest.json")
    assert {"parameters", "inputs", "outputs", "seed", "git", "environment", "device", "dtype",
            "device_reason", "seconds", "peak_memory_gb"} <= set(manifest)
    assert manifest["outputs"]["out.txt"]
    assert manifest["environment"]["torch"]


def test_a_stage_that_is_not_there_names_the_notebook_that_makes_it(study: Study) -> None:
    with pytest.raises(StudyError, match="run notebook 02_sft first"):
        stage_hash(study, "sft")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_cannot_be_written_is_one_sentence() -> None:
    study = open_study("smoke", "/proc/self/run")
    with pytest.raises(FileError, match="cannot write .*choose another --run folder"):
        make(study, Work())


def test_the_warning_run_is_a_setting_and_trains_nothing_when_it_is_off(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.warning_run": False})
    assert run_warning(study) == {}
    assert not study.path("warning").exists()


def test_the_hash_of_code_follows_the_rooms_it_was_asked_for(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    rooms = {name: tmp_path / "lib" / name / "room.py" for name in ("analysis", "study")}
    for path in rooms.values():
        write_text(path, "x = 1")
    before = {name: manifest.code_hash(name) for name in rooms}
    write_text(rooms["analysis"], "x = 2")
    assert manifest.code_hash("analysis") != before["analysis"]
    assert manifest.code_hash("study") == before["study"]
    assert manifest.code_hash() != before["study"]


def test_what_shows_a_read_only_run_is_written_elsewhere_and_that_is_said(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    study = open_study("smoke", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    assert study.view("figures") == tmp_path / "run" / "figures"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert study.view("figures") == tmp_path / "temporary" / "run_read_only" / "figures"
    assert "read-only" not in capsys.readouterr().out
    open_study("smoke", str(tmp_path / "run"))
    assert "is read-only: finished stages are shown, pages and" in capsys.readouterr().out


def test_a_read_only_run_is_shown_as_another_version_of_the_code_made_it(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    make(study, Work(), inputs={"code": "old"})
    monkeypatch.setattr("os.access", lambda *_: False)
    again = Work()
    make(study, again, inputs={"code": "new"})
    assert again.calls == 0
