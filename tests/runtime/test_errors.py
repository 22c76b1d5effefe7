"""Errors in a notebook: a sentence where one was written, a traceback where none was."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from lib.runtime.errors import sentence, show_sentences

RAISED = """
from lib.study.run import StudyError
raise StudyError("runs/try/data is not finished; run notebook 01_data first")
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


def test_an_interrupted_stage_says_how_it_goes_on(
        shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell(INTERRUPTED).success
    assert capsys.readouterr().out.strip() == (
        "interrupted; run the cell again to resume from the last checkpoint")


def test_any_other_error_keeps_its_traceback(shell: InteractiveShell,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert not shell.run_cell("1 / 0").success
    assert "Traceback" in capsys.readouterr().out
    assert sentence(ZeroDivisionError()) is None
