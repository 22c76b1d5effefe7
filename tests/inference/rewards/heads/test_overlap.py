"""Overlaps of an answer with its reference, against values by hand."""

import numpy as np
import pytest

from lib.inference.rewards.heads.overlap import OVERLAPS, overlaps


def test_an_answer_that_is_the_reference_shares_all_of_it() -> None:
    text = "The Ottoman army besieged Vienna in 1529."
    assert overlaps(text, text) == pytest.approx(np.ones(len(OVERLAPS)))


def test_an_answer_without_a_word_of_the_reference_shares_nothing() -> None:
    assert overlaps("zzz", "Paris 42") == pytest.approx(np.zeros(len(OVERLAPS)))
    assert overlaps("", "Paris 42") == pytest.approx(np.zeros(len(OVERLAPS)))


def test_overlaps_count_words_without_function_words_and_numbers_once() -> None:
    found = dict(zip(OVERLAPS, overlaps("The red fox saw the fox: 7, 7 and 8.",
                                        "A red fox sleeps at 7 degrees."), strict=True))
    # ours: red fox saw fox 7 7 8 (saw is no function word); theirs: red fox sleeps 7 degrees
    assert found["recall of words"] == pytest.approx(3 / 5)
    assert found["precision of words"] == pytest.approx(3 / 7)
    assert found["F1 of words"] == pytest.approx(0.5)
    assert found["recall of word pairs"] == pytest.approx(1 / 6)  # "red fox"
    assert found["recall of numbers"] == 1
    assert found["precision of numbers"] == pytest.approx(1 / 2)
    assert 0 < found["chrF"] < 1
