"""Three judges on the same answers, and the prompts that the reader decides."""

import pytest

from lib.analysis.judges.same_answers import same_answers
from lib.analysis.tables.findings import confound
from lib.runtime.files import Row
from tests.analysis.analysis_rows import response

JUDGES = ("selector", "judge")


def answers(name: str, *scores: tuple[float | None, float, float | None]) -> list[Row]:
    """Rows with scores of selector, judge and reader."""
    return [response(number, f"{name} {number}", judge, selector=selector, reader=reader)
            for number, (selector, judge, reader) in enumerate(scores)]


def test_all_judges_are_compared_on_the_prompts_that_all_of_them_scored() -> None:
    systems = {"sft": answers("s", (0, 0, 0), (0, 0, 0), (0, 0, 0), (None, 0, 0), (0, 0, None)),
               "dpo": answers("d", (1, 1, 0), (1, 1, 1), (1, -1, 0), (1, 1, 1), (1, 1, 1))}
    rows = same_answers(systems, JUDGES, "reader", [("dpo", "sft"), ("dpo", "base")])
    assert [(row["judge"], row["n"], row["win_rate"]) for row in rows] == [
        ("reader", 3, pytest.approx(2 / 3)), ("selector", 3, 1.0),
        ("judge", 3, pytest.approx(2 / 3))]
    assert [(row["decided"], row["decided_rate"]) for row in rows] == [(1, 1.0)] * 3
    said = confound([{"answers": "made up"} | row for row in rows], "dpo", "sft")
    assert said.startswith("**dpo over sft** (made up, 3 prompts): reader .67 [")
    assert "On the 1 that the reader decides: reader 1.00" in said


def test_a_reader_who_read_nothing_or_ties_throughout_has_no_rate_of_its_own() -> None:
    systems = {"sft": answers("s", (0, 0, None), (0, 0, None)),
               "dpo": answers("d", (1, 1, None), (1, 1, None))}
    assert same_answers(systems, JUDGES, "reader", [("dpo", "sft")]) == []
    for rows in systems.values():
        for row in rows:
            row["candidates"][0]["rewards"]["reader"] = 1.0
    tied = same_answers(systems, JUDGES, "reader", [("dpo", "sft")])[0]
    assert (tied["win_rate"], tied["decided"], tied["decided_rate"]) == (0.5, 0, None)
    assert "decides" not in confound([tied], "dpo", "sft")
