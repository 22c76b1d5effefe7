"""A judge is tried before the run: two small calls, a long question, and a verdict."""

import json
from threading import Event

import pytest

from lib.inference.api.transport import ApiStoppedError
from lib.inference.judges import chat_judge
from lib.inference.judges.chat_judge import ChatJudge
from lib.inference.judges.questions import Question
from lib.inference.rewards.cache import ScoreCache
from tests.inference.fake_server import Reply
from tests.inference.judges.fake_judge import (
    completion,
    judging,
    longer,
    message,
    settings_for,
    shown_answers,
)

LONG = Question("word " * 512, "word " * 128, "word " * 128)


@pytest.mark.parametrize(("reply", "sentence"), [
    ((404, {}, ""), "tiny is not deployed at http"),
    ((400, {}, "no temperature"), "did not answer a test question: .*no temperature"),
    ((503, {}, ""), "did not answer a test question: .*start the server")])
def test_a_probe_says_in_one_sentence_why_no_judge_is_there(
        reply: Reply, sentence: str, cache: ScoreCache) -> None:
    with judging() as server:
        server.tests_too, server.behave = True, lambda asked, call: reply
        with pytest.raises(ApiStoppedError, match=sentence) as error:
            ChatJudge(settings_for(server), cache).probe()
    assert "\n" not in str(error.value)


def test_a_probe_of_a_judge_is_two_small_calls_a_long_question_and_a_verdict(
        cache: ScoreCache) -> None:
    with judging(longer) as server:
        server.tests_too = True
        ChatJudge(settings_for(server), cache).probe(LONG)
    assert [asked["max_tokens"] for asked in server.asked] == [24, 24, 1, 512]
    assert LONG.prompt.strip() in message(server.asked[2])


@pytest.mark.parametrize("reply", [
    completion("Both are right."), completion(""), completion("<think>2 is", finish="length"),
    completion("A"), completion("[[A]] or [[B]]"), completion("**A**"), (400, {}, "too long"),
    (200, {}, json.dumps({"choices": [{"message": {"content": None, "refusal": "no"}}]})),
    (200, {}, json.dumps({"choices": [{"message": {"content": None, "reasoning": "[[A]]"}}]}))])
@pytest.mark.parametrize("style", ["pairwise", "arena_hard"])
def test_a_probe_tells_that_the_judge_gives_no_verdict(
        reply: Reply, style: str, cache: ScoreCache) -> None:
    with judging() as server:
        server.tests_too = True
        server.behave = lambda asked, call: (
            reply if asked["max_tokens"] > 24 else completion("well"))
        judge = ChatJudge(settings_for(server, style=style), cache)
        with pytest.raises(ApiStoppedError, match="gave no verdict on a test question") as error:
            judge.probe()
    assert f"llm_judge.style={style}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.models()


def test_a_verdict_in_one_order_or_after_a_reminder_is_enough(cache: ScoreCache) -> None:
    with judging() as server:
        server.tests_too = True
        server.behave = lambda asked, call: completion(
            "[[B]]" if shown_answers(asked) == ("3", "2") and "no verdict that" in message(asked)
            else "well")
        ChatJudge(settings_for(server), cache).probe()
    assert [asked["max_tokens"] for asked in server.asked[3:]] == [512] * 4


def test_a_server_that_dies_at_the_first_whole_question_is_told(cache: ScoreCache) -> None:
    with judging() as server:
        server.tests_too = True
        server.behave = lambda asked, call: (
            (500, {}, "out of memory") if asked["max_tokens"] > 24 else completion("well"))
        with pytest.raises(ApiStoppedError, match="gave no verdict .*out of memory"):
            ChatJudge(settings_for(server), cache).probe()


def test_a_judge_that_thinks_for_longer_than_the_probe_waits_is_no_fault(
        cache: ScoreCache, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(chat_judge, "SLOW", 0.2)
    done = Event()

    def think(asked: dict, call: int) -> Reply:
        done.wait(5 if asked["max_tokens"] > 24 else 0)
        return completion("well")
    with judging() as server:
        server.tests_too, server.behave = True, think
        ChatJudge(settings_for(server), cache).probe()
        done.set()
    assert "the run starts without having seen a verdict" in capsys.readouterr().out


def test_a_server_whose_context_is_too_short_for_long_questions_is_said(
        cache: ScoreCache, capsys: pytest.CaptureFixture[str]) -> None:
    with judging(longer) as server:
        server.tests_too, server.behave = True, lambda asked, call: (
            (400, {}, "exceeds the context") if LONG.prompt.strip() in message(asked)
            else completion(longer(*shown_answers(asked))))
        ChatJudge(settings_for(server), cache).probe(LONG)
    said = capsys.readouterr().out
    assert "tiny refuses a question of about" in said
    assert "exceeds the context" in said


def test_a_server_that_serves_another_model_is_no_judge(cache: ScoreCache) -> None:
    with judging() as server:
        server.listed = {"/v1/models": {"data": [{"id": "sft", "owned_by": "llamacpp"}]}}
        with pytest.raises(ApiStoppedError, match="serves sft and not tiny"):
            ChatJudge(settings_for(server), cache).probe()
