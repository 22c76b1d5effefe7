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
COMMON = {"profile", "run", "settings", "force", "from_run"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tagged(notebook: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", [])]


def test_the_notebooks_are_numbered_in_the_order_of_the_story() -> None:
    assert [path.stem for path in PATHS] == [
        "01_data", "02_sft", "03_dpo", "04_best_of_n", "05_analysis", "06_beyond_the_paper",
        "07_appendix"]


def test_a_notebook_is_stored_without_outputs_counts_and_widget_state(
        notebook: dict[str, Any]) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code(notebook))
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_one_parameters_cell_of_typed_literals_each_with_a_help_comment(
        notebook: dict[str, Any]) -> None:
    cell, = tagged(notebook, "parameters")
    for node, line in zip(ast.parse(source(cell)).body, source(cell).splitlines(), strict=True):
        assert isinstance(node, ast.AnnAssign)
        ast.literal_eval(node.value)
        assert "  # " in line


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_papermill_sees_every_parameter_with_help(path: Path) -> None:
    cell, = tagged(json.loads(path.read_text(encoding="utf-8")), "parameters")
    known = papermill.inspect_notebook(path)  # does not know `str | None`
    assert list(known) == [node.target.id for node in ast.parse(source(cell)).body]
    assert set(known) >= COMMON
    assert all(parameter["help"] for parameter in known.values())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_parameters_value_has_the_type_that_it_declares(path: Path) -> None:
    cell, = tagged(json.loads(path.read_text(encoding="utf-8")), "parameters")
    for node in ast.parse(source(cell)).body:
        assert type(ast.literal_eval(node.value)).__name__ == node.annotation.id, node.target.id


def test_code_has_prose_above_it_and_stays_short(notebook: dict[str, Any]) -> None:
    cells = notebook["cells"]
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            assert before["cell_type"] == "markdown", source(cell)
            assert len(source(cell).splitlines()) <= 25


def test_no_function_longer_than_five_lines_is_defined(notebook: dict[str, Any]) -> None:
    for cell in code(notebook):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 5, node.name


def test_no_cell_shows_a_bare_tuple_list_or_array(notebook: dict[str, Any]) -> None:
    for cell in code(notebook):
        last = ast.parse(source(cell)).body[-1]
        if isinstance(last, ast.Expr):  # a number is printed in a sentence, rows as a table
            assert isinstance(last.value, ast.Call), source(cell)
            called = ast.unparse(last.value.func).split(".")[-1]
            assert called not in ("round", "mean"), source(cell)


def test_a_lesson_computes_its_idea_by_hand(notebook: dict[str, Any]) -> None:
    assert [cell for cell in tagged(notebook, "by-hand") if cell["cell_type"] == "code"]


def test_a_lesson_has_one_exercise_with_a_solution_that_unfolds_and_a_check(
        notebook: dict[str, Any]) -> None:
    cells = notebook["cells"]
    exercise, = tagged(notebook, "exercise")
    place = cells.index(exercise)
    assert "### Exercise" in source(cells[place - 1])
    assert "<details><summary>Solution</summary>" in source(cells[place + 1])
    name = ast.parse(source(exercise)).body[0].name
    assert re.search(rf"check_\w+\({name}\b", source(cells[place + 2]))


def test_each_question_of_a_lesson_has_a_hint_that_unfolds(notebook: dict[str, Any]) -> None:
    last = source(notebook["cells"][-1])
    assert len(re.findall(r"^\d\. ", last, re.MULTILINE)) == 3
    assert len(re.findall(r"<details><summary>Hint</summary>.+</details>", last)) == 3


def test_cell_ids_are_their_places(notebook: dict[str, Any]) -> None:
    assert [cell["id"] for cell in notebook["cells"]] == [
        f"cell-{place:02d}" for place in range(len(notebook["cells"]))]


def test_a_notebook_ends_with_questions_and_what_should_be_visible(
        notebook: dict[str, Any]) -> None:
    last = source(notebook["cells"][-1])
    assert "Three questions" in last
    assert "You should see" in last


def test_no_absolute_path_is_stored(notebook: dict[str, Any]) -> None:
    assert not re.search(r"[\"'](/home|/work|/root|/tmp|C:)", json.dumps(notebook))
