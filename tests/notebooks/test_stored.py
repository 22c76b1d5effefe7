"""Notebooks in git: no outputs, one cell of literal parameters, prose above code, short cells."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import papermill
import pytest

from lib import ROOT

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COMMON = {"profile", "run", "settings", "force"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_there_are_five_numbered_notebooks() -> None:
    assert [path.stem for path in PATHS][:5] == ["01_data", "02_sft", "03_dpo", "04_best_of_n",
                                                 "05_analysis"]


def test_a_notebook_is_stored_without_outputs_counts_and_widget_state(
        notebook: dict[str, Any]) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code(notebook))
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_one_parameters_cell_of_typed_literals_each_with_a_help_comment(
        notebook: dict[str, Any]) -> None:
    tagged = [cell for cell in code(notebook)
              if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for node, line in zip(ast.parse(source(tagged[0])).body, source(tagged[0]).splitlines(),
                          strict=True):
        assert isinstance(node, ast.AnnAssign)
        ast.literal_eval(node.value)
        assert "  # " in line


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_papermill_sees_the_common_parameters_with_help(path: Path) -> None:
    known = papermill.inspect_notebook(path)
    assert set(known) >= COMMON
    assert all(parameter["help"] for parameter in known.values())


def test_code_has_prose_above_it_and_stays_short(notebook: dict[str, Any]) -> None:
    cells = notebook["cells"]
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            assert before["cell_type"] == "markdown", source(cell)
            assert len(source(cell).splitlines()) <= 25
        assert "def " not in source(cell) if cell["cell_type"] == "code" else True


def test_a_notebook_ends_with_questions_and_what_should_be_visible(
        notebook: dict[str, Any]) -> None:
    last = source(notebook["cells"][-1])
    assert "Three questions" in last
    assert "You should see" in last


def test_no_absolute_path_is_stored(notebook: dict[str, Any]) -> None:
    assert not re.search(r"[\"'](/home|/work|/root|/tmp|C:)", json.dumps(notebook))
