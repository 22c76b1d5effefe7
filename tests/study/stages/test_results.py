"""No number of results.json outlives what it was read from."""

import shutil
from pathlib import Path

import pytest

from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.study.run import Study, open_study
from lib.study.stages.results import evaluate_study

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
    rows = read_jsonl(study.path("dpo_other", "metrics.jsonl"))
    made_again(study, "dpo_other", "metrics.jsonl", [
        row | {"rewards/margins": 9.25} if row["split"] == "validation" else row for row in rows])
    after = evaluate_study(study)
    assert before["dpo_other_eval"]["rewards/margins"] != 9.25
    assert after["dpo_other_eval"]["rewards/margins"] == 9.25
    assert {row["stage"]: row["seconds"] for row in after["timings"]}["dpo_other"] == 1234.5
    assert after["win_rates"] == before["win_rates"]


def test_the_numbers_of_notebook_04_are_those_of_the_results(study: Study) -> None:
    selection = read_json(study.path("selection", "selection.json"))
    assert {"best_of_n_curves", "best_of_n_gains", "best_of_n_rules", "best_of_n_costs",
            "best_of_n_deep", "best_over_random"} == set(selection)
    assert selection.items() <= read_json(study.path("results.json")).items()
