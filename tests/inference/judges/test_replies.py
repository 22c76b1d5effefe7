"""A verdict is read from one documented form; whatever else a chat model says is no verdict."""

import json
import math

import pytest

from lib.inference.judges.replies import read_reply, read_verdict
from lib.inference.judges.styles import ALPACA_EVAL, ARENA_HARD, PAIRWISE, Style
from tests.inference.judges.fake_judge import completion


def verdict(text: str, style: Style = PAIRWISE, **options: object) -> tuple | None:
    found = read_verdict(read_reply(completion(text, **options)[2]), style)
    return None if found is None else found[:2]


@pytest.mark.parametrize(("text", "expected"), [
    ("[[A]]", (1, 1)), ("[[B]]", (0, 1)), ("[[TIE]]", (0.5, 1)),
    ("A names the right year.\n\n[[A]]\n", (1, 1)), ("So: **[[B]]**.", (0, 1)),
    ("<think>[[A]] at first sight, but no</think>\n[[B]]", (0, 1)),
    ("first [[A]], then again</think>[[B]]", (0, 1)),
    ("The list [[1, 2]] is right.\n[[A]]", (1, 1))])
def test_a_verdict_stands_once_at_the_end_after_any_reasoning(text: str, expected: tuple) -> None:
    assert verdict(text) == expected


@pytest.mark.parametrize("text", [
    "", "   ", "A", "[A]", "[[C]]", "[[a]]", "[[A>B]]", "The better answer is A.",
    "I cannot compare these answers.", "[[A]] or [[B]]", "[[A]]\n[[A]]",
    "[[A]] is better, because it is shorter", "<think>I lean to [[A]]", "<think>[[A]]</think>",
    "<think>hm</think> I would not say"])
def test_what_holds_no_single_verdict_at_its_end_is_none(text: str) -> None:
    assert verdict(text) is None


@pytest.mark.parametrize(("text", "expected"), [
    ("[[A>>B]]", (1, 3)), ("[[A>B]]", (1, 1)), ("[[A=B]]", (0.5, 1)), ("[[B>A]]", (0, 1)),
    ("[[B>>A]]", (0, 3)), ("[[A]]", None), ("[[A<B]]", None)])
def test_a_strong_verdict_of_arena_hard_counts_three_times(text: str,
                                                           expected: tuple | None) -> None:
    assert verdict(f"My answer would be 4.\n{text}", ARENA_HARD) == expected


def test_alpaca_evals_preference_is_the_probability_of_one_letter_among_both() -> None:
    logprobs = {"A": math.log(0.6), " B": math.log(0.1), "B": math.log(0.1), "The": math.log(0.2)}
    assert verdict("A", ALPACA_EVAL, logprobs=logprobs) == (pytest.approx(0.75), 1)
    assert verdict("The", ALPACA_EVAL, logprobs={"A": -1.0, "The": -0.1}) == (1, 1)
    assert verdict("The", ALPACA_EVAL, logprobs={"The": -0.1}) is None


@pytest.mark.parametrize(("text", "expected"), [
    ("A", (1, 1)), (" B\n", (0, 1)), ("a", None), ("Answer", None), ("<think>", None), ("", None)])
def test_without_log_probabilities_alpaca_evals_verdict_is_hard(text: str,
                                                               expected: tuple | None) -> None:
    found = read_verdict(read_reply(completion(text)[2]), ALPACA_EVAL)
    assert found == (None if expected is None else (*expected, False))


@pytest.mark.parametrize("value", [1e5, 0.5, float("nan"), float("inf"), "-1", 10 ** 400],
                         ids=lambda value: str(value)[:9])
def test_what_is_no_log_probability_weighs_no_verdict(value: object) -> None:
    body = completion("A", logprobs={"A": value, "B": -1.0})[2]
    assert read_verdict(read_reply(body), ALPACA_EVAL) == (1, 1, False)


@pytest.mark.parametrize(("body", "fault"), [
    ("", "Expecting value"), ("<html>busy</html>", "Expecting value"),
    ('{"choices": [{"message": {"conte', "Unterminated string"),
    ("[]", "a reply without choices"), ("{}", "a reply without choices"),
    ('{"choices": []}', "a reply without choices"), ('{"choices": [7]}', "without choices"),
    ('{"choices": [{}]}', "a choice without one message"),
    ('{"choices": [{"message": {"content": 7}}]}', "content that is no text"),
    ('{"choices": [{"message": {"content": "A"}}, {"message": {"content": "B"}}]}',
     "not a chat completion with one choice")])
def test_a_body_that_is_no_completion_is_an_error_so_that_it_is_asked_for_again(
        body: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_reply(body)


def test_a_reply_without_text_or_usage_is_read_as_such() -> None:
    bare = json.dumps({"choices": [{"message": {"content": None}, "logprobs": None}]})
    assert read_reply(bare) == ("", None, None, 0, "no content")
    assert read_reply(completion("four by f", tokens=None)[2]).tokens_written == 3
