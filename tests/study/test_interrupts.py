"""A command that is ended while its notebook runs: one sentence, no kernel left, and it goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest

from lib import ROOT
from lib.runtime.files import read_json
from tests.faults.whole_command import hear_ctrl_c

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals of Unix")]
COMMAND = """
import sys
from pathlib import Path
from lib.study import __main__ as command
from lib.study.notebooks import run_notebook
command._run = lambda options: run_notebook(
    Path("09_waits.ipynb"), Path("run"), {"profile": "smoke"}, options.force) and 0
sys.exit(command.main(sys.argv[1:]))
"""
CELL = """
import os, time
from pathlib import Path
Path("part").write_text(str(os.getpid()))
Path("part").rename("pid")
while not Path("go").exists():
    time.sleep(0.02)
"""
KEPT = ("interrupted; finished stages, notebooks and checkpoints are kept, run the same command "
        "again to go on from there\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cells = [nbformat.v4.new_code_cell("profile = ''", metadata={"tags": ["parameters"]}),
             nbformat.v4.new_code_cell(CELL)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={
        "kernelspec": {"name": "python3", "display_name": "", "language": "python"}})
    nbformat.write(notebook, tmp_path / "09_waits.ipynb")
    return tmp_path


def start(folder: Path, before: Callable[[], object] = hear_ctrl_c,
          *options: str) -> tuple[subprocess.Popen, psutil.Process]:
    """The command and its kernel, which waits in its cell; before: is called in the command."""
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *options], cwd=folder, text=True, preexec_fn=before,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (folder / "pid").exists():
        assert command.poll() is None, command.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kernel = psutil.Process(int((folder / "pid").read_text()))
    (folder / "pid").unlink()
    return command, kernel


def go_on(folder: Path) -> None:
    """The same command ends well, and once more it has nothing to do."""
    (folder / "go").touch()
    command, _ = start(folder)
    said, errors = command.communicate(timeout=120)
    assert (command.returncode, errors) == (0, ""), said
    cells = read_json(folder / "run" / "09_waits.ipynb")["cells"]
    assert {cell["metadata"]["papermill"]["status"] for cell in cells} == {"completed"}
    (folder / "go").unlink()


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_request_to_end_is_answered_with_a_sentence_and_without_a_kernel_left(
        number: int, status: int, folder: Path) -> None:
    command, kernel = start(folder)
    os.killpg(command.pid, number)
    _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (status, KEPT)
    assert not kernel.is_running()


def test_a_killed_command_leaves_no_kernel(folder: Path) -> None:
    command, kernel = start(folder)
    command.kill()
    command.wait()
    assert psutil.wait_procs([kernel], timeout=60)[1] == []
    go_on(folder)


def test_who_asks_again_and_again_gets_the_same_sentence(folder: Path) -> None:
    command, kernel = start(folder)
    for _ in range(3):
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(0.3)
    _, errors = command.communicate(timeout=60)
    assert errors == KEPT
    assert command.returncode in (130, -signal.SIGINT)  # the same to a shell
    assert psutil.wait_procs([kernel], timeout=60)[1] == []


def test_a_command_that_may_outlive_its_terminal_does(folder: Path) -> None:
    command, _ = start(folder, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # as nohup
    os.killpg(command.pid, signal.SIGHUP)
    (folder / "go").touch()
    _, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (0, "")


def test_a_notebook_that_force_made_again_in_part_is_not_up_to_date(folder: Path) -> None:
    go_on(folder)
    command, _ = start(folder, hear_ctrl_c, "--force")
    command.kill()
    command.wait()
    go_on(folder)


def test_what_force_has_made_again_is_up_to_date(folder: Path) -> None:
    (folder / "go").touch()
    command, _ = start(folder, hear_ctrl_c, "--force")
    assert command.wait(timeout=60) == 0
    (folder / "go").unlink()
    plain = subprocess.run([sys.executable, "-c", COMMAND], cwd=folder, capture_output=True,
                           env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, timeout=60,
                           check=True)
    assert "09_waits: up to date, skipped" in plain.stdout
