"""A reading of a run's answers is part of its results; a partial one counts what was read."""

from pathlib import Path

import pytest

from lib.data.parquet import write_parquet
from lib.runtime.files import Row, write_json
from lib.study.policies import load_pools, picked_rows, systems_of
from lib.study.reader.batches import export_batches
from lib.study.reader.readings import import_scores
from lib.study.run import Study, open_study
from lib.study.stages.audit import reader_results
from lib.study.stages.responses import write_responses
from lib.study.stages.results import comparisons, judged_rates
from tests.study.publish.test_exports import filled
from tests.study.reader.reader_runs import filled as scored

PROMPTS = 6


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A run with candidates, the systems' answers, and the prompts that a reader is asked about."""
    study = filled(open_study("smoke", str(tmp_path / "run")), PROMPTS)
    write_json(study.path("data", "manifest.json"), {"parameters": {"data": {"seed": 0}}})
    write_parquet([{"id": f"p{number}", "prompt": f"Question {number}?", "reference": None,
                    "source": "advice", "instruction_id_list": [], "kwargs": []}
                   for number in range(PROMPTS)], study.path("data", "heldout.parquet"))
    for name, rows in systems_of(study, load_pools(study)).items():
        write_responses(study.path("responses", f"{name}.jsonl"), rows)
    return study


def reading(study: Study) -> Row:
    """`reader` of results.json."""
    pools, pairs = load_pools(study), [comparison[:2] for comparison in comparisons(study)]
    return reader_results(study, systems_of(study, pools), pairs,
                          judged_rates(study, pools, pairs))


def test_a_run_that_no_one_has_read_has_no_reading(study: Study) -> None:
    assert reading(study) == {}


def test_a_reading_gives_every_comparison_of_the_family_by_reader_judge_and_selector(
        study: Study, tmp_path: Path) -> None:
    export_batches(study.folder, twice=8)
    import_scores(study.folder, [scored(study.folder, "batch_01", "Ada", tmp_path / "a.jsonl"),
                                 scored(study.folder, "second_01", "Bob", tmp_path / "b.jsonl")],
                  "model")
    found = reading(study)
    pairs = [comparison[:2] for comparison in comparisons(study)]
    for judge in ("reader", "judge", "selector"):
        rows = [row for row in found["same_answers"] if row["judge"] == judge]
        assert [(row["a"], row["b"]) for row in rows] == pairs
        assert {row["n"] for row in rows} == {PROMPTS}
    assert [row["reader"] for row in found["readers"]] == ["Ada", "Bob"]
    assert found["reliability"][0]["within"] == 1
    assert {(row["a"], row["b"]) for row in found["corrected"]} == set(pairs)
    assert {row["judge"] for row in found["judge_quality"]} == {"selector", "judge"}
    assert {frozenset((row["judge_a"], row["judge_b"])) for row in found["correlations"]} == {
        frozenset(two) for two in (("judge", "reader"), ("selector", "reader"),
                                   ("selector", "judge"))}
    assert found["prompts"] == PROMPTS


def test_a_partial_reading_counts_the_prompts_that_were_read(
        study: Study, tmp_path: Path) -> None:
    plan = export_batches(study.folder, prompts=4, size=10, twice=0)
    assert len(plan["batches"]) == 4  # a prompt each
    import_scores(study.folder, [scored(study.folder, name, "Ada", tmp_path / f"{name}.jsonl")
                                 for name in ("batch_01", "batch_03")], "person", partial=True)
    found = reading(study)
    assert found["prompts"] == 2
    assert {row["n"] for row in found["same_answers"]} == {2}
    assert {(row["labelled"], row["judged"]) for row in found["corrected"]} == {(2, PROMPTS)}


def test_an_answer_that_was_never_picked_has_no_reader_either(study: Study) -> None:
    pool, rows = next(iter(load_pools(study).items()))
    read = [row | {"candidates": [each | {"rewards": each["rewards"] | {"reader": 4.0}}
                                  for each in row["candidates"]]} for row in rows]
    system = pool.picked_by("bon", 1)
    [first, *_] = picked_rows(system, read, {row["id"]: None for row in rows})
    assert first["candidates"][0]["rewards"] == dict.fromkeys(("selector", "judge", "reader"))
