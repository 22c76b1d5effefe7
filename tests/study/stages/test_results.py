"""No number of results.json outlives what it was read from."""

import shutil
from pathlib import Path

import pytest

from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.study.reader.batches import export_batches
from lib.study.reader.readings import import_scores
from lib.study.run import Study, open_study
from lib.study.stages.results import evaluate_study
from tests.study.reader.reader_runs import filled as scored

pytestmark = pytest.mark.slow


@pytest.fixture
def study(smoke_run: Path, tmp_path: Path) -> Study:
    shutil.copytree(smoke_run, tmp_path / "run")
    return open_study("smoke", str(tmp_path / "run"))


def made_again(study: Study, stage: str, output: str, rows: list[Row]) -> None:
    """What another making of a stage would leave: other rows and a manifest that says so."""
    write_jsonl(study.path(stage, output), rows)
    manifest = read_json(study.path(stage, "manifest.json"))
    write_json(study.path(stage, "manifest.json"), manifest | {
        "seconds": 1234.5, "outputs": manifest["outputs"] | {output: "another making"}})


def test_a_warning_run_that_was_made_again_gives_its_new_numbers(study: Study) -> None:
    before = evaluate_study(study)
    rows = read_jsonl(study.path("warning", "written_high", "metrics.jsonl"))
    made_again(study, "warning", "written_high/metrics.jsonl", [
        row | {"judge_scores": [score - 9 for score in row["judge_scores"]]}
        if row["split"] == "samples" and row["step"] else row for row in rows])
    after = evaluate_study(study)
    old, new = (results["warning"]["effects"]["rate"]["mean"] for results in (before, after))
    assert new == pytest.approx(old - 4.5)  # one of the two cells at the high rate
    assert {row["stage"]: row["seconds"] for row in after["timings"]}["warning"] == 1234.5
    assert after["win_rates"] == before["win_rates"]


def test_the_numbers_of_notebook_04_are_those_of_the_results(study: Study) -> None:
    selection = read_json(study.path("selection", "selection.json"))
    assert {"best_of_n_curves", "best_of_n_gains", "best_of_n_rules", "rule_systems",
            "best_of_n_costs", "best_of_n_deep", "best_over_random",
            "variance_components"} == set(selection)
    results = read_json(study.path("results.json"))
    assert selection.items() <= results.items()
    assert [row["prompts"] for row in results["audit"]["forecast"]] == [120]
    assert {row["refits"] for row in results["audit"]["refits"]} == {50}
    assert len(results["variance"]["parts"]) == len(selection["variance_components"]) > 0


def test_a_reading_makes_the_tables_new_and_samples_nothing(study: Study, tmp_path: Path) -> None:
    before = evaluate_study(study)
    export_batches(study.folder, prompts=8, twice=0)
    import_scores(study.folder, [scored(study.folder, "batch_01", "Ada", tmp_path / "a.jsonl")],
                  "model")
    after = evaluate_study(study)
    assert before["reader"] == {}
    assert after["reader"]["prompts"] == 8
    assert {row["n"] for row in after["reader"]["same_answers"]} == {8}
    changed = {old["stage"] for old, new in zip(before["timings"], after["timings"], strict=True)
               if old["seconds"] != new["seconds"]}
    assert changed <= {"results"}
    assert after["win_rates"] == before["win_rates"]
