"""What ends the execution of a notebook from outside is told in one sentence."""

from pathlib import Path

import nbformat
import papermill
import pytest

from lib.runtime.files import FileError
from lib.study import notebooks
from lib.study.notebooks import notebook_paths, run_notebook
from lib.study.profiles import load_profile
from lib.study.run import StudyError


def test_a_killed_kernel_is_one_sentence(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("run = ''", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell("import os; os.kill(os.getpid(), 9)")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={
        "kernelspec": {"name": "python3", "display_name": "", "language": "python"}})
    nbformat.write(notebook, tmp_path / "09_killed.ipynb")
    with pytest.raises(StudyError, match="09_killed stopped, because its kernel was killed.* run "
                                         "the same command again to resume"):
        run_notebook(tmp_path / "09_killed.ipynb", tmp_path / "run", {"profile": "smoke"}, False)


@pytest.mark.parametrize(("text", "why"), [
    ("Kernel died before replying to kernel_info", "its kernel was killed"),
    ("Kernel didn't respond in 120 seconds", "its kernel gave no sign of life within 120 s")])
def test_a_kernel_that_ends_at_its_start_is_one_sentence(
        text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise RuntimeError(text)
    monkeypatch.setattr(papermill, "execute_notebook", ended)
    with pytest.raises(StudyError, match=f"01_data stopped, because {why}.* run the same command"):
        run_notebook(notebook_paths(["01"])[0], tmp_path, {"profile": "smoke"}, False)


def test_a_notebook_is_the_same_however_the_command_asked_for_it(tmp_path: Path) -> None:
    path = notebook_paths(["01"])[0]
    keys = {notebooks._key(path, tmp_path, {"profile": "smoke"} | given) for given in (
        {}, {"force": True}, {"from_run": "runs/other"}, {"run": "elsewhere"}, {"settings": {}},
        {"settings": {"dpo.beta": load_profile("smoke").dpo.beta}})}
    assert len(keys) == 1
    assert notebooks._key(path, tmp_path, {"profile": "laptop"}) not in keys
    assert notebooks._key(path, tmp_path, {
        "profile": "smoke", "settings": {"dpo.beta": 0.7}}) not in keys


def test_a_full_disk_beside_a_notebook_is_one_sentence(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(papermill, "execute_notebook", ended)
    with pytest.raises(FileError, match="no space is left to write .*01_data.ipynb; free some and"):
        run_notebook(notebook_paths(["01"])[0], tmp_path, {"profile": "smoke"}, False)
