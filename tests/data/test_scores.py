"""Scores and ranks of answers: their names, their order, and what cannot be one."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lib.data.cells import SchemaError
from lib.data.layouts.reading import Reading
from lib.data.schema import convert, preference_row, scored_row
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences
from tests.data.test_layouts import HH, local


@pytest.mark.parametrize("scores", [
    {"score_chosen": 2, "score_rejected": 1}, {"chosen_score": 2.0, "rejected_score": 1.0},
    {"chosen_rating": 2, "rejected_rating": 1}, {"chosen-rating": 2, "rejected-rating": 1},
    {"reward_chosen": 2, "reward_rejected": 1}, {"rating_chosen": 2, "rating_rejected": 1},
    {"scores": {"chosen": 2, "rejected": 1}}, {"ratings": {"chosen": 2, "rejected": 1}},
    {"score_chosen": Decimal("2.0"), "score_rejected": Decimal("1.0")}])
def test_the_scores_of_a_pair_are_found_by_their_usual_names(scores: dict) -> None:
    pair = convert([{"prompt": "q", "chosen": "a", "rejected": "b", **scores}],
                   preference_row, "f")[0]
    assert (pair["score_chosen"], pair["score_rejected"]) == (2.0, 1.0)
    assert type(pair["score_chosen"]) is float


def test_a_dotted_name_finds_nested_scores() -> None:
    pair = {"prompt": "q", "chosen": "a", "rejected": "b",
            "judge": {"a.b": 0, "chosen": {"mean": "8"}, "rejected": {"mean": "3.5"}}}
    row = convert([pair], preference_row, "f", reading=Reading(score="judge.{side}.mean"))[0]
    assert (row["score_chosen"], row["score_rejected"]) == (8, 3.5)
    answers = {"instruction": "q", "completions": [
        {"response": "a", "model": "m", "annotations": {"honesty": {"Rating": "5"}}},
        {"response": "b", "model": "n", "annotations": {"honesty": {"Rating": "2"}}}]}
    reading = Reading(score="annotations.honesty.Rating")
    scored = convert([answers], scored_row, "f", reading=reading)[0]
    assert [(one["text"], one["score"], one["system"]) for one in scored["answers"]] == [
        ("a", 5, "m"), ("b", 2, "n")]


@pytest.mark.parametrize("row", [
    {"prompt": "q", "answers": [{"text": "a", "score": 2}]},
    {"instruction": "q", "completions": [{"response": "a", "overall_score": 2}]},
    {"prompt": "q", "responses": ["a"], "scores": [2]},
    {"prompt": "q", "generations": ["a"], "rating": [2]},
    {"prompt": "q", "completions": ["a"], "rewards": [2.0]},
    {"question": "q", "candidates": [{"content": "a", "rating": Decimal(2)}]}])
def test_scored_answers_are_found_by_their_usual_names(row: dict[str, Any]) -> None:
    found = convert([row], scored_row, "f")[0]
    assert (found["prompt"], found["answers"][0]["text"], found["answers"][0]["score"]) == (
        "q", "a", 2)


NECTAR = {"prompt": HH, "turns": 1, "num_responses": 3, "answers": [
    {"answer": "b", "model": "m", "rank": 2.0}, {"answer": "c", "model": "n", "rank": 3.0},
    {"answer": "a", "model": "o", "rank": 1.0}]}


@pytest.mark.parametrize(("row", "score"), [
    (NECTAR, ""), (NECTAR, "rank"),
    ({"prompt": "q", "responses": ["b", "c", "a"], "ranks": [2, 3, 1]}, ""),
    ({"prompt": "q", "responses": ["b", "c", "a"], "rank": [1, 2, 0]}, ""),
    ({"question": "q", "completions": [{"text": text, "ranking": rank} for text, rank in (
        ("b", 2), ("c", 3), ("a", 1))]}, ""),
    ({"prompt": "q", "candidates": [{"text": text, "by": {"rank": rank}} for text, rank in (
        ("b", "2"), ("c", "3"), ("a", "1"))]}, "by.rank")])
def test_of_ranked_answers_the_lowest_rank_is_the_best(
        row: dict, score: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading = Reading()
    pairs = load_preferences(local(tmp_path, "preferences", [row], pairs="on_policy",
                                   score_column=score), 0, reading=reading)
    assert sorted((pair["chosen"], pair["rejected"]) for pair in pairs) == [
        ("a", "b"), ("a", "c"), ("b", "c")]
    assert all(pair["score_chosen"] <= 0 for pair in pairs)
    reading.say_dropped()
    assert "ranks, not scores, in 1 row: the lowest rank is the best" in capsys.readouterr().out


@pytest.mark.parametrize(("column", "ranks"), [
    ("{side}_rank", {"chosen_rank": 1, "rejected_rank": 3}),
    ("rank.{side}", {"rank": {"chosen": 1, "rejected": 3}})])
def test_a_pairs_ranks_agree_with_its_order(column: str, ranks: dict) -> None:
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b", **ranks}]
    found, = convert(rows, preference_row, "f", reading=Reading(score=column))
    assert (found["score_chosen"], found["score_rejected"]) == (-1, -3)


def test_a_score_beside_a_rank_is_the_score() -> None:
    row = {"prompt": "q", "answers": [{"text": "a", "score": 9, "rank": 1}]}
    assert convert([row], scored_row, "f")[0]["answers"][0]["score"] == 9


def test_lists_of_answers_and_scores_that_do_not_match_are_refused() -> None:
    for scores in ([8], [8, 2, 3]):
        with pytest.raises(SchemaError, match=f"f, row 1: .*{len(scores)} scores for 2 answers"):
            convert([{"prompt": "q", "responses": ["a", "b"], "scores": scores}], scored_row, "f")


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 1e300, 10**400,
                                   Decimal("Infinity")])
def test_a_score_that_is_not_finite_is_refused(score: object) -> None:
    with pytest.raises(SchemaError, match="a finite number"):
        convert([{"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": score}],
                preference_row, "f")


def test_scores_on_another_scale_than_the_gap_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{number}", "answers": [{"text": "a", "score": 0.9},
                                                 {"text": "b", "score": 0.1 * number}]}
            for number in range(5)]
    with pytest.raises(SchemaError, match=r"min_gap=1 in their scores \(0 to 0.9\); set a smaller"):
        load_preferences(local(tmp_path, "preferences", rows), 0)
    reading = Reading()
    pairs = load_preferences(local(tmp_path, "preferences", rows, min_gap=0.65), 0,
                             reading=reading)
    assert (len(pairs), reading.without_pair, reading.dropped) == (3, 2, {})


def test_a_score_column_that_names_nothing_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b", "scores": {"chosen": 2}}]
    given = local(tmp_path, "preferences", rows, pairs="written", score_column="score.{side}")
    with pytest.raises(SchemaError, match=r"no row .* has a score under data.score_column="):
        load_preferences(given, 0)


@pytest.mark.parametrize(("column", "pairs"), [("a.b", "written"), ("a.{side}", "on_policy")])
def test_a_score_column_of_the_other_kind_of_rows_is_refused(column: str, pairs: str) -> None:
    with pytest.raises(ValueError, match=r"data.score_column is .* with data.pairs="):
        DataSettings(score_column=column, pairs=pairs)
