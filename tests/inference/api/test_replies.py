"""What a server puts where an answer should be is read, asked for again, or missing and why."""

import json
from pathlib import Path

import pytest

from lib.inference.api.server import sample_from_server
from lib.runtime.files import read_jsonl, sha256_of_value
from tests.inference.api.test_server import PROMPTS, SETTINGS
from tests.inference.fake_server import FakeServer, choice, good

ENDLESS = -10 ** 400  # JSON has no largest integer
MESSAGE = {"role": "assistant", "content": "an answer"}
ODD = [
    ({"message": MESSAGE | {"content": None, "reasoning_content": "well, one may say"}},
     "reasoning without an answer"),
    ({"message": MESSAGE | {"content": None, "reasoning": "well"}, "finish_reason": "length"},
     "reasoning without an answer"),
    ({"message": MESSAGE | {"content": "", "reasoning_content": "we"}, "finish_reason": "length"},
     "reasoning without an answer"),
    ({"message": MESSAGE | {"content": None, "refusal": "I will not"}}, "a refusal"),
    ({"message": MESSAGE | {"content": None}}, "no content"),
    ({"message": {"role": "assistant"}}, "no content"),
    ({"message": MESSAGE | {"content": []}}, "no content"),
    ({"message": MESSAGE | {"content": [{"type": "thinking", "thinking": "well"}]}}, "no content"),
    ({"message": MESSAGE, "finish_reason": "content_filter"}, "it ended with 'content_filter'"),
    ({"message": MESSAGE | {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"},
     "it ended with 'tool_calls'"),
    ({"message": MESSAGE, "finish_reason": "SAFETY"}, "it ended with 'SAFETY'")]


@pytest.mark.parametrize(("odd", "reason"), ODD)
def test_a_choice_without_an_answer_is_missing_with_its_reason_and_counted(
        odd: dict, reason: str, server: FakeServer, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps({"choices": [
        choice("one"), {"finish_reason": "stop"} | odd, choice("three")]}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["text"] for answer in row["candidates"]] == ["one", "", "three"]
    assert [answer["finish"] for answer in row["candidates"]] == ["stop", "missing", "stop"]
    assert row["candidates"][1]["reason"] == reason
    assert row["candidates"][1]["tokens"] is None
    assert len(server.asked) == 1  # no other answer takes its place
    assert f"1 of 3 answers are missing (1 times {reason}); comparisons skip them" in (
        capsys.readouterr().out)


@pytest.mark.parametrize("message", [
    MESSAGE, MESSAGE | {"reasoning_content": "thought"}, [MESSAGE],
    [{"role": "user", "content": "question"}, MESSAGE],
    MESSAGE | {"content": [{"type": "text", "text": "an "}, {"type": "text", "text": "answer"}]},
    MESSAGE | {"content": [{"type": "thinking", "thinking": "well"},
                           {"type": "text", "text": "an answer"}]}])
@pytest.mark.parametrize(("finish", "read"), [
    ("stop", "stop"), ("length", "length"), ("eos_token", "stop"), ("MAX_TOKENS", "length")])
def test_an_answer_is_read_in_every_form_that_servers_give_it(
        message: object, finish: str, read: str, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [{"message": message, "finish_reason": finish}] * 3}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert {(answer["text"], answer["finish"]) for answer in row["candidates"]} == {
        ("an answer", read)}


def test_half_an_emoji_in_an_answer_is_replaced_so_that_it_can_be_scored(
        server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [choice("well \ud83d done\0")] * 3}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    text = row["candidates"][0]["text"]
    assert text == "well \ufffd done\ufffd"
    assert sha256_of_value(text)


@pytest.mark.parametrize("passing", [
    {"error": {"message": "upstream is busy", "code": 502}}, {"error": "overloaded"},
    {"choices": [], "error": {"message": "rate limited", "code": 429}},
    {"object": "error", "message": "engine died", "code": 500}, {"choices": [{}]},
    {"choices": [choice() | {"error": {"message": "provider failed"}, "finish_reason": "error"}]},
    {"choices": [{"message": 7, "finish_reason": "stop"}]}, {"choices": None}, {}, [], None, "t"])
def test_an_error_in_a_reply_of_status_200_is_asked_again(
        passing: object, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (
        (200, {}, json.dumps(passing)) if call < 2 else good(asked))
    rows = sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["finish"] for row in rows for answer in row["candidates"]] == ["stop"] * 18


@pytest.mark.parametrize("places", [(0, 0, 1), (0, 1, 1), (2, 0, 2)])
def test_a_reply_with_one_index_twice_is_asked_again(
        places: tuple, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: good(asked) if call else (200, {}, json.dumps({"choices": [
        choice("of another request") | {"index": place} for place in places]}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["text"] for answer in row["candidates"]] == [
        f"answer {number} to question 0" for number in range(3)]


def test_choices_in_another_order_are_put_in_the_order_of_their_index(
        server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps({"choices": [
        choice(f"answer {place}") | {"index": place} for place in (2, 0, 1, 3)]}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["text"] for answer in row["candidates"]] == ["answer 0", "answer 1", "answer 2"]


@pytest.mark.parametrize("logprobs", [
    {"content": [{"token": "an"}]}, {"content": "no"}, [1], "no", {"content": [None]},
    *({"content": [{"token": "an", "logprob": value}]}
      for value in (float("nan"), float("inf"), float("-inf"), 0.5, True, "-0.5", ENDLESS))])
def test_log_probabilities_that_cannot_be_read_cost_no_answer(
        logprobs: object, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [choice() | {"logprobs": logprobs}] * 3}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["logprob"] for answer in row["candidates"]] == [None] * 3


@pytest.mark.parametrize("count", [float("nan"), float("inf"), -3, 2.5, "9", True, [9], ENDLESS],
                         ids=lambda count: str(count)[:9])
def test_a_number_of_tokens_that_is_none_is_null(
        count: object, server: FakeServer, tmp_path: Path) -> None:
    bare = {"message": {"content": "yes"}, "finish_reason": "stop"}
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [bare], "usage": {"prompt_tokens": count, "completion_tokens": count}}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert {row["prompt_tokens"], *(answer["tokens"] for answer in row["candidates"])} == {None}
    assert read_jsonl(tmp_path / "rows.jsonl") == [row]
