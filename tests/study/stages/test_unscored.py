"""A prompt whose candidates the selector could not score, from the pool to the last table."""

import shutil
from pathlib import Path

import pytest

from lib.analysis.comparisons.scoreboard import chosen
from lib.inference.systems import System
from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.study.policies import load_systems, picks_of
from lib.study.run import Study, open_study
from lib.study.stages.results import evaluate_study

PICKED = System.parse("dpo+bon4@0.6")
SAME_POOL = ("dpo", PICKED.control.name)

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


def test_the_prompt_is_missing_where_best_of_n_had_no_pick_and_where_the_selector_judges(
        study: Study, smoke_run: Path) -> None:
    before = {(kind, row["a"], row["b"], row["judge"]): row
              for kind in ("win_rates", "single_draws")
              for row in read_json(smoke_run / "results.json")[kind]}
    results, systems = evaluate_study(study), load_systems(study)
    for kind in ("win_rates", "single_draws"):
        for row in results[kind]:
            pair = {row["a"], row["b"]}
            gone = before[kind, row["a"], row["b"], row["judge"]]["n"] - row["n"]
            missing = {PICKED.name, *(SAME_POOL if row["judge"] == "selector" else ())}
            a, b = (chosen(systems[row[side]][0])["text"].strip() for side in ("a", "b"))
            tied = kind == "single_draws" and a == b and PICKED.name not in pair
            assert gone == row["missing"] == (bool(missing & pair) and not tied), row
    assert {row["left_out"] for row in results["win_rates"]
            if (row["a"], row["b"], row["judge"]) == (PICKED.name, "sft", "judge")} == {6}
    ratings = {row["system"] for row in results["ratings"]}
    assert PICKED.name in ratings
    left_out = {row["left_out"] for row in results["best_of_n_curves"]
                if (row["policy"], row["temperature"]) == ("dpo", 0.6)}
    assert left_out == {1}
