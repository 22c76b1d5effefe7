"""Parameters that a notebook does not have stop it; the runner sets only what was asked for."""

from pathlib import Path
from typing import Any

import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from lib import ROOT
from lib.runtime.parameters import misspelt
from lib.study import __main__ as command

DECLARED = 'profile: str = "laptop"  # a preset\nbeta: float = 0.0  # pull'


def test_a_name_that_the_notebook_does_not_declare_is_refused() -> None:
    said = misspelt(["", DECLARED, "# Parameters\nprofile = 'smoke'\nbetta = 0.2\n", "x"])
    assert said == "this notebook has no parameter 'betta'; it takes profile, beta"


def test_known_names_and_notebooks_without_papermill_pass() -> None:
    assert misspelt(["", DECLARED, "# Parameters\nbeta = 0.2\n"]) is None
    assert misspelt(["", DECLARED, "%timeit no python at all", "betta = 1"]) is None


@pytest.mark.slow
def test_plain_papermill_stops_in_the_first_cell_at_a_misspelt_name(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError, match="no parameter 'sourse'") as stopped:
        papermill.execute_notebook(
            ROOT / "notebooks" / "01_data.ipynb", tmp_path / "out.ipynb",
            {"profile": "smoke", "sourse": "hub"}, cwd=ROOT / "notebooks", progress_bar=False)
    assert "open_study" in stopped.value.source


def test_a_notebook_is_given_only_what_was_asked_for(monkeypatch: pytest.MonkeyPatch,
                                                     tmp_path: Path) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "run_notebook",
                        lambda path, folder, parameters, force: given.append(parameters))
    monkeypatch.setattr("lib.study.planning.access.check_access", lambda study: None)
    monkeypatch.setattr("lib.study.planning.preflight.blockers", lambda *_: [])
    run = str(tmp_path)
    assert command.main(["--profile", "smoke", "--run", run, "--only", "01"]) == 0
    assert command.main(["--profile", "smoke", "--run", run, "--only", "01", "--force", "--set",
                         "dpo.beta=0.2"]) == 0
    assert command.main(["--profile", "smoke", "--run", run, "--only", "01", "--seeds", "2"]) == 0
    assert given == [
        {"profile": "smoke", "run": run},
        {"profile": "smoke", "run": run, "force": True, "settings": {"dpo.beta": 0.2}},
        {"profile": "smoke", "run": run},
        {"profile": "smoke", "run": str(tmp_path / "seeds" / "1"), "settings": {"seed": 1}}]
