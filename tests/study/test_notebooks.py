"""What ends the execution of a notebook from outside is told in one sentence."""

from pathlib import Path

import nbformat
import papermill
import pytest

from lib.runtime.files import FileError
from lib.study.notebooks import notebook_paths, run_notebook
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


def test_a_full_disk_beside_a_notebook_is_one_sentence(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(papermill, "execute_notebook", ended)
    with pytest.raises(FileError, match="no space is left to write .*01_data.ipynb; free some and"):
        run_notebook(notebook_paths(["01"])[0], tmp_path, {"profile": "smoke"}, False)
