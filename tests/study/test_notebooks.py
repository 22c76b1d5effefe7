"""What ends the execution of a notebook from outside is told in one sentence."""

from pathlib import Path

import papermill
import pytest
from nbclient.exceptions import DeadKernelError

from lib.runtime.files import FileError
from lib.study.notebooks import notebook_paths, run_notebook
from lib.study.run import StudyError


@pytest.mark.parametrize(("error", "kind", "sentence"), [
    (DeadKernelError("Kernel died"), StudyError,
     "01_data stopped, because its kernel was killed.*run the same command again to resume"),
    (OSError(28, "No space left on device"), FileError,
     "no space is left to write .*01_data.ipynb; free some and run the same again")])
def test_a_killed_kernel_and_a_full_disk_are_one_sentence(
        error: Exception, kind: type, sentence: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object, **__: object) -> None:
        raise error
    monkeypatch.setattr(papermill, "execute_notebook", ended)
    with pytest.raises(kind, match=sentence):
        run_notebook(notebook_paths(["01"])[0], tmp_path, {"profile": "smoke"}, False)
