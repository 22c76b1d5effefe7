"""A prompt whose candidates the selector could not score, from the pool to the last table."""

import shutil
from pathlib import Path

import pytest

from lib.inference.systems import System
from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.study.policies import picks_of
from lib.study.run import Study, open_study
from lib.study.stages.results import evaluate_study

PICKED = System.parse("dpo+bon4@0.6")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished run whose selector failed on every candidate of one prompt of one pool."""
    folder = tmp_path_factory.mktemp("unscored") / "run"
    shutil.copytree(smoke_run, folder)
    pool, picks = folder / "responses" / "pools" / "dpo@0.6.jsonl", folder / "responses/picks.json"
    first, *rest = read_jsonl(pool)
    rows = [without_selector(first), *rest]
    write_jsonl(pool, rows)
    write_json(picks, read_json(picks) | {PICKED.name: picks_of(PICKED, rows, seed=0)})
    for stage in ("selection", "results"):
        (folder / stage / "manifest.json").unlink()
    return open_study("smoke", str(folder))


def without_selector(row: Row) -> Row:
    return {**row, "candidates": [
        {**candidate, "rewards": {**candidate["rewards"], "selector": None}}
        for candidate in row["candidates"]]}


def test_the_prompt_is_missing_from_every_comparison_of_that_system_and_from_no_other(
        study: Study, smoke_run: Path) -> None:
    before = {(row["a"], row["b"], row["judge"]): row
              for row in read_json(smoke_run / "results.json")["win_rates"]}
    results = evaluate_study(study)
    for row in results["win_rates"]:
        gone = before[row["a"], row["b"], row["judge"]]["n"] - row["n"]
        assert gone == row["missing"] == (PICKED.name in (row["a"], row["b"])), row
    ratings = {row["system"] for row in results["ratings"]}
    assert PICKED.name in ratings
    left_out = {row["left_out"] for row in results["best_of_n_curves"]
                if (row["policy"], row["temperature"]) == ("dpo", 0.6)}
    assert left_out == {1}
