"""Pairs of the model's own answers: far enough apart, and never teaching it to run on."""

from typing import Any

import pytest

from lib.data.on_policy import pairs_from_scored
from lib.data.schema import is_cut_off
from lib.data.sources import load_scored


def scored(*answers: tuple[float, str]) -> list[dict[str, Any]]:
    return [{"id": "p", "prompt": "q", "source": "s", "answers": [
        {"text": f"t{index}", "system": "sft", "temperature": 1.0, "score": score,
         "flaws": flaws.split()} for index, (score, flaws) in enumerate(answers)]}]


def ids(rows: list[dict[str, Any]], min_gap: float, keep: str) -> list[str]:
    return [pair["id"] for pair in pairs_from_scored(rows, min_gap, keep)]


def test_best_against_worst_is_one_pair_with_scores_and_indices() -> None:
    pairs = pairs_from_scored(scored((2.0, ""), (4.5, "vague"), (1.0, "")), 1.0)
    assert pairs == [{"id": "p/1>2", "prompt": [{"role": "user", "content": "q"}],
                      "chosen": "t1", "rejected": "t2", "score_chosen": 4.5,
                      "score_rejected": 1.0, "cut_off_chosen": False,
                      "cut_off_rejected": False, "source": "s"}]


def test_all_pairs_that_are_far_enough_apart_are_kept() -> None:
    assert ids(scored((2.0, ""), (4.0, ""), (1.0, ""), (1.5, "")), 1.0, "all") == [
        "p/0>2", "p/1>0", "p/1>2", "p/1>3"]


@pytest.mark.parametrize("keep", ["best_worst", "all"])
def test_a_cut_off_answer_is_never_chosen_but_may_be_rejected(keep: str) -> None:
    assert ids(scored((9.0, "vague cut_off"), (5.0, ""), (1.0, "cut_off")), 1.0, keep) == ["p/1>2"]
    assert ids(scored((9.0, "cut_off"), (1.0, "cut_off")), 1.0, keep) == []


def test_a_pair_says_which_of_its_answers_was_cut_off() -> None:
    (pair,) = pairs_from_scored(scored((5.0, ""), (1.0, "vague cut_off")), 1.0)
    assert (pair["cut_off_chosen"], pair["cut_off_rejected"]) == (False, True)


@pytest.mark.parametrize("name", ["on_policy", "judged"])
def test_the_sample_marks_every_answer_that_filled_the_token_limit(name: str) -> None:
    answers = [answer for row in load_scored(name) for answer in row["answers"]]
    filled = [answer for answer in answers if answer["tokens"] >= 128]
    assert filled
    assert all(is_cut_off(answer) for answer in filled)


@pytest.mark.parametrize("keep", ["best_worst", "all"])
def test_a_gap_of_exactly_the_minimum_is_enough_and_less_is_not(keep: str) -> None:
    assert ids(scored((3.0, ""), (2.0, "")), 1.0, keep) == ["p/0>1"]
    assert ids(scored((2.5, ""), (2.0, "")), 1.0, keep) == []


@pytest.mark.parametrize("keep", ["best_worst", "all"])
def test_ties_make_no_pair_even_without_a_minimum(keep: str) -> None:
    assert ids(scored((2.0, ""), (2.0, "")), 0.0, keep) == []
    assert ids(scored(), 0.0, keep) == []
