"""Errors in a notebook: a sentence where one was written, a traceback where none was."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lib.runtime.errors import sentence, show_sentences

RAISED = """
from lib.study.run import StudyError
raise StudyError("runs/try/data is not finished; run notebook 01_data first")
"""
FIRST = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("from lib.study.stages.table import STAGES\\nmetrics = made(study)")
"""
INTERRUPTED = """
def run_stage():
    raise KeyboardInterrupt
run_stage()
"""


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> InteractiveShell:
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    show_sentences()
    yield shell
    InteractiveShell.clear_instance()


def test_an_error_of_ours_is_its_sentence_and_the_cell_still_fails(
        shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    result = shell.run_cell(RAISED)
    assert not result.success
    assert capsys.readouterr().out.strip() == (
        "StudyError: runs/try/data is not finished; run notebook 01_data first")


def test_the_first_cell_after_a_restart_says_what_to_run_before_it() -> None:
    told = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, encoding="utf-8",
                          check=True).stdout.strip()
    assert told.startswith("NameError: made is not defined; if a cell above defines it, run")


def test_an_interrupted_stage_says_how_it_goes_on(
        shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell(INTERRUPTED).success
    assert capsys.readouterr().out.strip() == (
        "interrupted; run the cell again to resume from the last checkpoint")


def test_an_interrupt_elsewhere_is_one_line_too(
        shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell("raise KeyboardInterrupt").success
    assert capsys.readouterr().out.strip() == "interrupted; run the cell again"


@pytest.mark.parametrize("cell", ["metrics", "print(len(metrics))", "metrics['loss'] + 1",
                                  "total = metrics.sum()", "del metrics",
                                  "sum(metrics for _ in range(2))", "[metrics for _ in range(2)]",
                                  "{1: metrics[each] for each in range(2)}",
                                  "a, b = ([[metrics] for _ in range(2)] for _ in range(2))",
                                  "list(map(lambda each: metrics, range(2)))"])
def test_a_cell_that_was_run_before_those_above_it_says_so(
        cell: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell(cell).success
    told = capsys.readouterr().out.strip()
    assert told.startswith("NameError: metrics is not defined; if a cell above defines it, run")
    assert "Run > Run All Above Selected Cell" in told
    assert "\n" not in told


@pytest.mark.parametrize("cell", [
    "def mean(values):\n    return total / len(values)\nmean([1])",
    "def mean(values):\n    return sum(total for _ in values)\nmean([1])",
    "import sys, types\nmodule = types.ModuleType('other')\nexec('missing', module.__dict__)"])
def test_a_name_that_a_function_or_a_module_lacks_keeps_its_traceback(
        cell: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell(cell).success
    assert "Traceback" in capsys.readouterr().out


def test_any_other_error_keeps_its_traceback(shell: InteractiveShell,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell("1 / 0").success
    assert "Traceback" in capsys.readouterr().out
    assert sentence(ZeroDivisionError()) is None
