"""One table says what each stage reads; the runner, the notebooks and the results follow it."""

from pathlib import Path

import pytest

from lib.runtime.files import write_json, write_jsonl
from lib.study import notebooks
from lib.study.notebooks import NOTEBOOKS, notebook_paths
from lib.study.run import Study, StudyError, open_study, stage_inputs
from lib.study.stages.table import STAGES, stages_before, stages_needed


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A run in which the stages that every run has are finished."""
    study = open_study("smoke", str(tmp_path / "run"))
    for name in ("data", "sft", "dpo", "responses", "selection", "movement"):
        finish(study, name)
    return study


def finish(study: Study, stage: str, output: str = "first") -> None:
    write_json(study.path(stage, "manifest.json"), {"outputs": {"metrics.jsonl": output}})


def test_a_warning_run_that_was_made_again_makes_the_results_and_notebook_05_again(
        study: Study) -> None:
    [analysis] = notebook_paths(["05"])
    seen = [(stage_inputs(study, "results"), notebooks._key(analysis, study.folder, {}))]
    assert "warning" not in seen[0][0]
    for output in ("first", "second"):
        finish(study, "warning", output)
        seen.append((stage_inputs(study, "results"), notebooks._key(analysis, study.folder, {})))
    assert len({inputs.get("warning") for inputs, _ in seen}) == 3
    assert len({key for _, key in seen}) == 3


@pytest.mark.parametrize(("stage", "read"), [
    ("dpo", "rewards"), ("warning", "rewards"), ("responses", "rewards"), ("deep", "rewards"),
    ("selection", "deep"), ("results", "rewards"), ("results", "deep")])
def test_a_stage_that_a_run_need_not_have_is_an_input_where_it_is_there(
        study: Study, stage: str, read: str) -> None:
    assert read not in stage_inputs(study, stage)
    finish(study, read)
    assert read in stage_inputs(study, stage)


@pytest.mark.parametrize("stage", ["responses", "results"])
def test_notebook_06_is_out_of_date_when_answers_or_what_a_reader_said_of_them_change(
        study: Study, stage: str) -> None:
    [beyond] = notebook_paths(["06"])
    before = notebooks._key(beyond, study.folder, {})
    finish(study, stage, "other")
    assert notebooks._key(beyond, study.folder, {}) != before


def test_readings_that_come_in_make_the_notebooks_that_show_them_run_again(study: Study) -> None:
    def keys() -> dict[str, str]:
        return {path.name[:2]: notebooks._key(path, study.folder, {}) for path in notebook_paths()}
    before = keys()
    write_jsonl(study.path("reader", "scores.jsonl"), [{"key": "abc", "score": 2.0}])
    after = keys()
    assert [number for number in before if before[number] != after[number]] == ["05", "06", "07"]


def test_a_notebook_reads_the_stages_of_the_notebooks_before_it() -> None:
    assert [stages_before(number) for number in ("01", "02")] == [[], ["data"]]
    assert stages_before("03") == ["data", "sft", "rewards"]
    assert stages_before("04") == ["data", "sft", "dpo"]
    assert {"responses", "selection", "warning", "rewards"} <= set(stages_before("05"))
    assert stages_needed("03") == ["data", "sft"]
    assert stages_needed("07") == stages_before("07") == ["responses", "results"]


def test_every_stage_reads_known_stages_and_is_made_by_a_notebook() -> None:
    for stage in STAGES.values():
        assert {*stage.inputs, *stage.where_made} <= set(STAGES)
        assert (NOTEBOOKS / f"{stage.notebook}.ipynb").exists()


def test_a_stage_that_is_missing_names_its_notebook(study: Study) -> None:
    study.path("movement", "manifest.json").unlink()
    with pytest.raises(StudyError, match="movement is not finished; run notebook 05_analysis"):
        stage_inputs(study, "results")
