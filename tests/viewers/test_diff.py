from difflib import SequenceMatcher

from hypothesis import given
from hypothesis import strategies as st

from lib.viewers.diff import WORD, word_diff

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", ".", "on", "a", "mat"]), max_size=25)


def marked(text: str, ranges: tuple[tuple[int, int], ...]) -> list[str]:
    return [text[start:end] for start, end in ranges]


def test_the_words_that_differ_are_marked_in_similar_answers() -> None:
    a, b = "The cat sat on the mat.", "The dog sat on the big mat."
    diff = word_diff(a, b)
    assert diff.kind == "changed"
    assert marked(a, diff.a) == ["cat"]
    assert marked(b, diff.b) == ["dog", "big"]


def test_shared_phrases_are_marked_in_unrelated_answers() -> None:
    a = "Ice floats because it is less dense than water, and ships float as well."
    b = "Nobody has ever seen it: rain comes from clouds that are not less dense than water at all."
    diff = word_diff(a, b)
    assert diff.kind == "shared"
    assert marked(a, diff.a) == marked(b, diff.b) == ["less dense than water"]


def test_marks_of_punctuation_make_no_phrase() -> None:
    a, b = "1. 2. Add a mold.", "1. The user puts it in. 2. It prints layer by layer, and waits."
    assert (word_diff(a, b).kind, word_diff(a, b).a) == ("shared", ())


def test_identical_answers_have_no_marks() -> None:
    assert word_diff("Same words.", "Same words.").a == ()


def test_an_empty_answer_differs_in_everything_but_breaks_nothing() -> None:
    assert word_diff("", "") .share == 0
    assert word_diff("", "words").b == ()


def test_punctuation_is_compared_apart_from_its_word() -> None:
    a, b = "Yes, it is.", "Yes it is!"
    diff = word_diff(a, b)
    assert marked(a, diff.a) == [",", "."]
    assert marked(b, diff.b) == ["!"]


def test_chinese_is_compared_by_character() -> None:
    a, b = "我喜欢红茶", "我喜欢绿茶"
    diff = word_diff(a, b)
    assert (marked(a, diff.a), marked(b, diff.b)) == (["红"], ["绿"])


def test_long_looping_answers_are_left_unmarked_in_bounded_time() -> None:
    diff = word_diff("again and " * 10_000, "again and " * 9_000)
    assert diff.kind == "too long"


@given(WORDS, WORDS)
def test_what_is_not_marked_as_changed_is_the_same_on_both_sides(
    left: list[str], right: list[str]
) -> None:
    a, b = " ".join(left), " ".join(right)
    diff = word_diff(a, b)
    if diff.kind == "changed":
        assert unmarked_words(a, diff.a) == unmarked_words(b, diff.b)


@given(WORDS, WORDS)
def test_the_share_is_that_of_difflib(left: list[str], right: list[str]) -> None:
    if left or right:
        expected = SequenceMatcher(None, left, right, autojunk=False).ratio()
        assert abs(word_diff(" ".join(left), " ".join(right)).share - expected) < 1e-12


def unmarked_words(text: str, ranges: tuple[tuple[int, int], ...]) -> list[str]:
    return [match.group() for match in WORD.finditer(text)
            if not any(start <= match.start() < end for start, end in ranges)]
