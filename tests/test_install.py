"""The wheel: one package with notebooks and data, no weights, and a command that starts a study."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lib import ROOT

pytestmark = pytest.mark.slow
PACKAGE = "small_model_study"
# as a fresh environment does: its site folder with our path entry, then the other packages
START = """
import site, sys
site.addsitedir(sys.argv[1])
sys.path += sys.argv[2].split("|")
sys.argv = ["study", *sys.argv[3:]]
from lib.study.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
                           "--wheel-dir",
                           str(folder), str(ROOT)], capture_output=True, encoding="utf-8",
                          errors="replace", check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip("no package registry, from which the build backend comes")
    assert done.returncode == 0, done.stderr
    built, = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def study(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    packages = "|".join(path for path in sys.path if path.endswith("-packages"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, "-S", "-c", START, str(site), packages, *arguments],
                          cwd=folder, env=environment, capture_output=True, encoding="utf-8",
                          errors="replace", check=False)


def test_the_wheel_has_one_package_with_notebooks_and_data_and_no_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names, size = set(archive.namelist()), sum(one.file_size for one in archive.infolist())
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {PACKAGE, f"{PACKAGE}.pth"}
    files = [path.relative_to(ROOT).as_posix()
             for pattern in ("notebooks/*.ipynb", "notebooks/*.md", "data/sample/*", "lib/**/*.py",
                             "data/features/*/*.npz", "lib/viewers/web/**/*.*")
             for path in ROOT.glob(pattern)]
    assert {f"{PACKAGE}/{name}" for name in files} <= names
    assert not [name for name in names if "/models/" in name or name.endswith(".safetensors")]
    assert size < 20e6


def test_the_path_entry_is_the_packages_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"{PACKAGE}.pth").decode().split() == [PACKAGE]
        entry, = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "study = lib.study.__main__:main" in archive.read(entry).decode()


def test_an_installed_study_begins_its_run_in_the_folder_where_it_is_called(
        site: Path, tmp_path: Path) -> None:
    done = study(site, tmp_path, "--profile", "smoke", "--plan")
    assert done.returncode == 0, done.stderr
    assert f"run folder {Path('runs', 'smoke')}" in done.stdout
    assert not list(site.rglob("runs"))


def test_an_installed_study_gives_its_notebooks(site: Path, tmp_path: Path) -> None:
    copied = study(site, tmp_path, "--notebooks", "lessons")
    assert (copied.returncode, copied.stdout) == (
        0, "copied to lessons; open it with jupyter lab lessons\n")
    assert len(list((tmp_path / "lessons").glob("0*.ipynb"))) == 7
    again = study(site, tmp_path, "--notebooks", "lessons")
    assert again.returncode == 2
    assert "it is there already; open it with jupyter lab lessons, or name a new" in again.stderr
