"""What the paper's printed answers show, counted over all prompts that have what it takes."""

import pytest

from lib.analysis.comparisons.printed_answers import printed_answers
from lib.analysis.statistics.intervals import wilson_interval
from lib.analysis.tables import printed_answers_table
from lib.runtime.files import Row
from tests.analysis.analysis_rows import response

BEST, SINGLE = "dpo+bon4@0.6", "dpo"
PICKED = [("[C]", 2.0), ("a whole valid answer", 1.0), ("the same", 0.5), ("a better answer", 3.0)]
ALONE = [("Which of the three is right?", 2.5), ("another whole answer", 1.5), ("the same ", 0.5),
         ("a worse answer", 1.0)]


def rows(answers: list[tuple[str, float | None]], **scores: float | None) -> list[Row]:
    return [response(number, text, score, **({"selector": 1.0} | scores))
            for number, (text, score) in enumerate(answers)]


def counts(systems: dict[str, list[Row]]) -> dict[str, tuple[int, int]]:
    """Sign (and judge) -> (count, n)."""
    return {row["sign"].split(",")[0] + (f" by {row['judge']}" if row["judge"] else ""):
            (row["count"], row["n"]) for row in printed_answers(systems, [(BEST, SINGLE)])}


def test_each_sign_is_counted_over_all_prompts() -> None:
    found = counts({BEST: rows(PICKED), SINGLE: rows(ALONE)})
    assert found == {"the best of N has the text of the single answer": (1, 4),
                     "the best of N has at most 3 words": (1, 4),
                     "the best of N scores below the single answer by judge": (2, 4)}


def test_a_prompt_without_a_pick_or_without_a_score_is_missing_not_a_sign() -> None:
    picked = rows(PICKED)
    picked[0]["candidates"][0]["rewards"]["selector"] = None
    picked[1]["candidates"][0]["rewards"]["judge"] = None
    assert list(counts({BEST: picked, SINGLE: rows(ALONE)}).values()) == [(1, 3), (0, 3), (0, 2)]


def test_a_readers_scores_are_counted_beside_the_judges_where_there_are_any() -> None:
    systems = {BEST: rows(PICKED, reader=1.0), SINGLE: rows(ALONE, reader=2.0)}
    assert counts(systems)["the best of N scores below the single answer by reader"] == (4, 4)
    assert not any("by reader" in sign for sign in counts({BEST: rows(PICKED),
                                                           SINGLE: rows(ALONE)}))


def test_without_any_pick_nothing_is_counted_and_no_interval_is_made() -> None:
    systems = {BEST: rows(PICKED, selector=None), SINGLE: rows(ALONE)}
    found = printed_answers(systems, [(BEST, SINGLE)])
    assert [(row["count"], row["n"], row["share"], row["ci_low"]) for row in found] == [
        (0, 0, None, None)] * 2


def test_the_table_has_a_line_a_sign_and_a_column_a_system_with_counts_and_intervals() -> None:
    systems = {BEST: rows(PICKED), SINGLE: rows(ALONE), "sft": rows(ALONE),
               "sft+bon4@0.6": rows(PICKED)}
    found = printed_answers(systems, [("sft+bon4@0.6", "sft"), (BEST, SINGLE)])
    low, high = wilson_interval(1, 4)
    assert found[0]["share"] == pytest.approx(0.25)
    head, _, *lines = printed_answers_table(found).splitlines()
    assert head.count("beside") == 2
    assert len(lines) == 3
    assert f"1 of 4: .25 [.{low * 100:02.0f}, .{high * 100:02.0f}]" in lines[0]
    assert "[C]" in lines[1]
    assert "written before" in printed_answers_table([])


def test_a_reader_counts_where_one_reader_read_both_answers() -> None:
    """By the first readers' scores all four picks would be worse."""
    picked, alone = rows(PICKED, reader=2.0), rows(ALONE, reader=5.0)
    readings = [({"Bob": 2}, {"Ada": 5}), ({"Ada": 2}, {"Ada": 5}),
                ({"Bob": 2}, {"Ada": 5, "Bob": 1}), ({"Bob": 2}, {"Ada": 5, "Bob": 3})]
    for one, other, (mine, its) in zip(picked, alone, readings, strict=True):
        one["candidates"][0]["readings"], other["candidates"][0]["readings"] = mine, its
    found = counts({BEST: picked, SINGLE: alone})
    assert found["the best of N scores below the single answer by reader"] == (2, 3)
