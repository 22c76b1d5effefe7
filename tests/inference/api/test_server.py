"""Sampling through an OpenAI-compatible server, against a real HTTP server on loopback."""

import json
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lib.inference.api.server import ServerSamplingError, sample_from_server
from lib.inference.api.transport import ApiStoppedError, ServerSettings
from lib.inference.sampling import SamplingSettings
from lib.runtime.files import read_jsonl
from tests.inference.fake_server import FakeServer, Reply, choice, good

PROMPTS = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
           for number in range(6)]
SETTINGS = SamplingSettings(samples=3, temperature=0.7, max_new_tokens=16, seed=5)
KEY = "sk-planted-0123456789"


def test_rows_have_the_schema_of_local_sampling_and_the_order_of_the_prompts(
        server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", KEY)
    rows = sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]
    assert rows[2] == {
        "id": "p2", "prompt": "question 2", "source": "test", "prompt_tokens": 9,
        "prompt_truncated": False, "candidates": [
            {"text": f"answer {number} to question 2", "token_ids": None, "tokens": 5,
             "finish": "stop", "logprob": -2.5, "sampling_logprob": None}
            for number in range(3)]}
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
    assert set(server.headers) == {f"Bearer {KEY}"}
    assert KEY not in (tmp_path / "rows.jsonl").read_text()


def test_the_request_carries_the_settings_and_a_seed_of_its_prompt(
        server: FakeServer, tmp_path: Path) -> None:
    sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "a.jsonl")
    first = {call["messages"][0]["content"]: call for call in server.asked}
    asked = first["question 0"]
    expected = {"model": "tiny", "n": 3, "temperature": 0.7, "top_p": 1.0, "top_k": 50,
                "max_tokens": 16}
    assert {key: asked[key] for key in expected} == expected
    assert len({call["seed"] for call in server.asked}) == len(PROMPTS)
    sample_from_server(PROMPTS[::-1], SETTINGS, server.settings, tmp_path / "b.jsonl")
    again = {call["messages"][0]["content"]: call for call in server.asked[len(PROMPTS):]}
    assert again == first


def test_neutral_values_are_sent_too_because_a_servers_own_may_not_be_neutral(
        server: FakeServer, tmp_path: Path) -> None:
    sample_from_server(PROMPTS[:1], SamplingSettings(samples=1, top_k=None), server.settings,
                       tmp_path / "rows.jsonl")
    neutral = {"top_k": -1, "top_p": 1, "min_p": 0, "repetition_penalty": 1, "repeat_penalty": 1,
               "presence_penalty": 0, "frequency_penalty": 0}
    assert {name: server.asked[0][name] for name in neutral} == neutral


@pytest.mark.parametrize("trouble", [
    (429, {"Retry-After": "0"}, "slow down"), (429, {}, ""), (503, {}, "<html>busy</html>"),
    (500, {}, "oops"), (200, {}, "<html>ok?</html>"), (200, {}, '{"choices": []}'),
    (200, {}, "[" * 5000), (200, {}, json.dumps({"choices": [choice(finish=None)]})), None])
def test_passing_trouble_is_asked_again_and_loses_nothing(
        trouble: Reply, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: trouble if call < 2 else good(asked)
    rows = sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [len(row["candidates"]) for row in rows] == [3] * 6
    assert len(server.asked) == 18


def test_a_server_that_gives_one_answer_a_call_is_asked_for_the_others(
        server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [choice(f"try {call}")], "usage": {"completion_tokens": 2}}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert [answer["text"] for answer in row["candidates"]] == ["try 0", "try 1", "try 2"]
    assert [answer["tokens"] for answer in row["candidates"]] == [2, 2, 2]
    assert [call["n"] for call in server.asked] == [3, 2, 1]
    assert len({call["seed"] for call in server.asked}) == 3


def test_log_probabilities_that_a_server_does_not_give_are_null_not_zero(
        server: FakeServer, tmp_path: Path) -> None:
    bare = {"message": {"content": ""}, "finish_reason": "length"}
    server.behave = lambda asked, call: (200, {}, json.dumps({"choices": [bare] * asked["n"]}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert row["candidates"][0] == {"text": "", "token_ids": None, "tokens": None,
                                    "finish": "length", "logprob": None, "sampling_logprob": None}


@pytest.mark.parametrize(("ids", "kept"), [
    ([5, 7, 2], [5, 7, 2]), ("5 7 2", None), ([5, "7"], None)])
def test_token_ids_are_asked_for_and_kept_as_the_server_gives_them(
        ids: object, kept: list[int] | None, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (200, {}, json.dumps(
        {"choices": [choice() | {"token_ids": ids}] * asked["n"]}))
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert server.asked[0]["return_token_ids"] is True
    assert [answer["token_ids"] for answer in row["candidates"]] == [kept] * 3


def test_a_server_that_refuses_every_prompt_ends_the_run_with_its_words(
        server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (400, {}, "unknown field top_k")
    with pytest.raises(ServerSamplingError, match="prompt 'p0': .*unknown field top_k"):
        sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")


def test_a_wrong_key_ends_the_run_at_once_and_is_not_shown(
        server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", KEY)
    server.behave = lambda asked, call: (401, {}, f"{KEY} is not valid")
    with pytest.raises(ApiStoppedError, match="put a valid one into STUDY_TEST_KEY") as error:
        sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert KEY not in str(error.value) + written + "".join(capsys.readouterr())


@pytest.mark.parametrize("status", [400, 503])
def test_no_part_of_a_key_is_shown_where_a_long_text_is_cut(
        status: int, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", KEY)
    server.behave = lambda asked, call: (status, {}, "x" * 192 + KEY)
    with pytest.raises(ServerSamplingError) as error:
        sample_from_server(PROMPTS[:1], SETTINGS, replace(server.settings, attempts=1),
                           tmp_path / "rows.jsonl")
    assert KEY[:4] not in str(error.value)


def test_a_broken_key_ends_the_run_and_is_not_repeated(
        server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", "sk-two\nlines")
    with pytest.raises(ApiStoppedError, match="STUDY_TEST_KEY holds characters") as error:
        sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert "sk-two" not in str(error.value)


def test_answers_under_way_when_the_key_expires_are_kept(
        server: FakeServer, tmp_path: Path) -> None:
    under_way, failed = threading.Event(), threading.Event()

    def behave(asked: dict, call: int) -> Reply:
        if asked["messages"][0]["content"] == "question 0":
            under_way.wait(30)
            failed.set()
            return 401, {}, "no"
        under_way.set()
        failed.wait(30)
        time.sleep(0.1)
        return good(asked)
    server.behave = behave
    two = replace(server.settings, concurrency=2)
    with pytest.raises(ApiStoppedError, match="401"):
        sample_from_server(PROMPTS[:2], SETTINGS, two, tmp_path / "rows.jsonl")
    assert '"p1"' in (tmp_path / "rows.jsonl.partial.jsonl").read_text()


def test_a_restart_asks_only_for_what_is_missing(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    server.behave = lambda asked, call: (
        (401, {}, "no") if asked["messages"][0]["content"] == "question 5" else good(asked))
    one_at_a_time = ServerSettings("tiny", server.settings.base_url, concurrency=1, backoff=0.01)
    with pytest.raises(ApiStoppedError):
        sample_from_server(PROMPTS, SETTINGS, one_at_a_time, path)
    assert not path.exists()
    before = len(server.asked)
    server.behave = lambda asked, call: good(asked)
    rows = sample_from_server(PROMPTS, SETTINGS, one_at_a_time, path)
    assert len(server.asked) == before + 1
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]


@pytest.mark.parametrize(("status", "sentence"), [
    (404, "tiny is not deployed at http://.* for this account; check the base URL and the name"),
    (418, "this is no answer of an OpenAI-compatible API; check the base URL http://")])
def test_what_ends_the_run_is_said_without_a_word_of_scores(
        status: int, sentence: str, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (status, {}, "")
    with pytest.raises(ApiStoppedError, match=sentence) as error:
        sample_from_server(PROMPTS, SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert not re.search("scor|judge", str(error.value))


def test_a_server_that_never_answers_is_said_to_have_given_no_reply(
        server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (503, {}, "")
    patient = replace(server.settings, attempts=2)
    with pytest.raises(ServerSamplingError, match="no usable reply after 2 attempts, the last one"):
        sample_from_server(PROMPTS[:1], SETTINGS, patient, tmp_path / "rows.jsonl")


def test_greedy_answers_are_asked_for_one_at_a_time(server: FakeServer, tmp_path: Path) -> None:
    greedy = SamplingSettings(samples=2, temperature=0)
    row, = sample_from_server(PROMPTS[:1], greedy, server.settings, tmp_path / "rows.jsonl")
    assert [call["n"] for call in server.asked] == [1, 1]
    assert len(row["candidates"]) == 2


def test_no_more_prompts_are_under_way_than_the_concurrency(
        server: FakeServer, tmp_path: Path) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def slow(asked: dict, call: int) -> Reply:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        with lock:
            under_way[0] -= 1
        return good(asked)
    server.behave = slow
    sample_from_server(PROMPTS, SETTINGS, replace(server.settings, concurrency=2),
                       tmp_path / "rows.jsonl")
    assert most[0] == 2


def test_other_weights_behind_the_same_name_begin_anew(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    server.behave = lambda asked, call: (
        (401, {}, "no") if asked["messages"][0]["content"] == "question 5" else good(asked))
    one_at_a_time = replace(server.settings, concurrency=1)
    with pytest.raises(ApiStoppedError):
        sample_from_server(PROMPTS, SETTINGS, one_at_a_time, path, "trained on Monday")
    server.behave = lambda asked, call: good(asked)
    before = len(server.asked)
    sample_from_server(PROMPTS, SETTINGS, one_at_a_time, path, "trained on Tuesday")
    assert len(server.asked) == before + len(PROMPTS)


@pytest.mark.parametrize("filtered", [
    (400, {"error": {"code": "content_filter", "message": "filtered", "status": 400,
                     "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (403, {"error": {"message": "this model requires moderation", "code": 403,
                     "metadata": {"flagged_input": "question 1"}}}),
    (200, {"error": {"code": "content_filter", "message": "filtered"}}),
    (400, {"error": {"type": "exceed_context_size_error", "code": 400, "message": "too long"}}),
    (200, {"object": "error", "type": "BadRequestError", "code": 400, "message": "too long"}),
    (451, {}), (422, {"detail": "no"})])
def test_one_prompt_that_is_refused_is_missing_and_the_run_goes_on(
        filtered: tuple, server: FakeServer, tmp_path: Path) -> None:
    status, body = filtered
    server.behave = lambda asked, call: (
        (status, {}, json.dumps(body)) if asked["messages"][0]["content"] == "question 1"
        else good(asked))
    path = tmp_path / "rows.jsonl"
    rows = sample_from_server(PROMPTS, SETTINGS, server.settings, path)
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]
    assert [answer["finish"] for answer in rows[1]["candidates"]] == ["missing"] * 3
    assert len(server.asked) == 6
    assert read_jsonl(path) == rows


@pytest.mark.parametrize("body", [
    "<html>a proxy</html>", '{"choices": [{"message": {"conte', '{"choices": []}'])
def test_a_prompt_whose_reply_can_never_be_read_is_missing_where_others_are_answered(
        body: str, server: FakeServer, tmp_path: Path) -> None:
    server.behave = lambda asked, call: (
        (200, {}, body) if asked["messages"][0]["content"] == "question 1" else good(asked))
    rows = sample_from_server(PROMPTS, SETTINGS, replace(server.settings, attempts=2),
                              tmp_path / "rows.jsonl")
    assert {answer["finish"] for answer in rows[1]["candidates"]} == {"missing"}
    assert "no usable reply after 2 attempts" in rows[1]["candidates"][0]["reason"]


def test_a_server_that_dies_ends_the_run_and_the_next_one_asks_for_the_rest(
        server: FakeServer, tmp_path: Path) -> None:
    path, alive = tmp_path / "rows.jsonl", [True]
    server.tests_too = True

    def behave(asked: dict, call: int) -> Reply:
        alive[0] &= asked["messages"][0]["content"] != "question 4"
        return good(asked) if alive[0] else (503, {}, "")
    server.behave = behave
    settings = replace(server.settings, attempts=1, concurrency=1)
    with pytest.raises(ServerSamplingError, match="finished prompts are kept"):
        sample_from_server(PROMPTS, SETTINGS, settings, path)
    server.behave, server.tests_too = lambda asked, call: good(asked), False
    before = len(server.asked)
    rows = sample_from_server(PROMPTS, SETTINGS, settings, path)
    assert len(server.asked) == before + 2
    assert all(answer["finish"] == "stop" for row in rows for answer in row["candidates"])


def test_prompts_that_never_get_a_reply_are_missing_while_a_test_question_gets_one(
        server: FakeServer, tmp_path: Path) -> None:
    many = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
            for number in range(20)]
    server.behave = lambda asked, call: (
        good(asked) if asked["messages"][0]["content"] == "question 0" else (503, {}, ""))
    one_at_a_time = replace(server.settings, attempts=1, concurrency=1)
    rows = sample_from_server(many, SETTINGS, one_at_a_time, tmp_path / "rows.jsonl")
    assert [row["candidates"][0]["finish"] for row in rows] == ["stop"] + ["missing"] * 19


def test_two_prompts_with_one_id_are_refused(server: FakeServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two prompts have the id 'p0'"):
        sample_from_server([*PROMPTS, PROMPTS[0]], SETTINGS, server.settings,
                           tmp_path / "rows.jsonl")
    assert server.asked == []


@pytest.mark.parametrize("key", ["EMPTY", "answer", "stop", "n", "{"])
def test_a_word_that_stands_for_a_key_changes_no_answer(
        key: str, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TEST_KEY", key)
    row, = sample_from_server(PROMPTS[:1], SETTINGS, server.settings, tmp_path / "rows.jsonl")
    assert row["candidates"][0]["text"] == "answer 0 to question 0"
    assert row["candidates"][0]["finish"] == "stop"
