"""Parts of the API client: reading replies, the rate limit, waiting times, estimates."""

import json
import time
from email.utils import formatdate
from threading import Event

import pytest
import requests

from lib.inference.api.rate_limit import RateLimit
from lib.inference.api.transport import ApiStoppedError, ServerSettings, retry_after
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from lib.inference.rewards.remote.replies import UnreadableReplyError, parse_reward


def reply(content: object, **choice: object) -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}
                                   | choice]})


@pytest.mark.parametrize(("content", "expected"), [
    ("reward:-25.625", -25.625), ("  reward :  -25.6 \n", -25.6), ("Reward:3", 3.0),
    ("-0.5", -0.5), ("reward:+1e-3", 0.001), ("reward:.5", 0.5), ("reward:0", 0.0),
    ("helpfulness:1.5,correctness:2.0,coherence:3.5,complexity:1,verbosity:1.1", 1.5)])
def test_every_known_form_of_a_reward_is_read(content: str, expected: float) -> None:
    assert parse_reward(reply(content)) == expected


ASSISTANT = {"role": "assistant", "content": "reward:-25.625"}
REWARDS = [{"token": "reward", "bytes": None, "logprob": -25.625, "top_logprobs": []}]


@pytest.mark.parametrize("choice", [
    {"message": [ASSISTANT]}, {"message": ASSISTANT, "finish_reason": "length"},
    {"message": [ASSISTANT], "logprobs": {"content": REWARDS}},
    {"message": [ASSISTANT | {"content": ""}], "logprobs": {"content": REWARDS}},
    {"message": [ASSISTANT | {"content": None}], "logprobs": {"content": REWARDS}},
    {"message": [{"role": "user", "content": "3"}, ASSISTANT]},
    {"message": ASSISTANT | {"content": [{"type": "text", "text": "reward:-25.625"}]}},
    {"message": ASSISTANT, "logprobs": {"content": [{"token": "reward", "logprob": -0.01}]}}])
def test_a_reward_is_read_in_every_recorded_form_of_a_reply(choice: dict) -> None:
    assert parse_reward(json.dumps({"choices": [choice]})) == -25.625


@pytest.mark.parametrize("message", [
    [], [ASSISTANT, ASSISTANT], [None], "reward:1", [{"role": "user", "content": "reward:1"}]])
def test_a_list_without_one_answer_holds_no_reward(message: object) -> None:
    with pytest.raises(UnreadableReplyError):
        parse_reward(json.dumps({"choices": [{"message": message}]}))


@pytest.mark.parametrize("content", [
    "reward:nan", "reward:inf", "reward:-Infinity", "reward:1e999", "reward:", "", "good", None, 7,
    "reward:-1 reward:-2", "reward:-1.5.2", "reward:1,5", "about 3", "-25.6 of 10",
    "helpfulness:1,helpfulness:2", "correctness:2.0"])
def test_anything_else_is_unreadable_never_a_number(content: object) -> None:
    with pytest.raises(UnreadableReplyError):
        parse_reward(reply(content))


@pytest.mark.parametrize("body", [
    "", "<html>busy</html>", "null", "[]", "{}", '{"choices": []}', '{"choices": [null]}',
    reply("reward:1") * 2, reply("reward:1")[:-4], "[" * 5000,
    json.dumps({"choices": [{"message": {"content": "1"}}, {"message": {"content": "2"}}]})])
def test_a_body_that_is_not_one_completion_is_unreadable(body: str) -> None:
    with pytest.raises(UnreadableReplyError):
        parse_reward(body)


def test_older_models_give_helpfulness_as_a_log_probability() -> None:
    entries = [{"token": "correctness", "logprob": 2.0}, {"token": "helpfulness", "logprob": 1.6}]
    assert parse_reward(reply("", logprobs={"content": entries})) == 1.6


@pytest.mark.parametrize(("content", "entries"), [
    ("", [("helpfulness", float("nan"))]), ("", [("helpfulness", 10 ** 400)]),
    ("", [("helpfulness", 1), ("reward", 2)]), ("", [("helpfulness", "1")]), ("", [(None, 1)]),
    ("", [("reward", -0.1), (":", -0.1), ("-3", -0.1)]),
    (None, [("The", -0.1), (" reward", -0.1)]),
    ("The reward is high", [("The", -0.1), (" reward", -0.1)]),
    ("reward: very high", [("reward", -0.1)])])
def test_the_log_probability_of_a_word_is_no_reward(content: str | None, entries: list) -> None:
    listed = [{"token": token, "logprob": value} for token, value in entries]
    with pytest.raises(UnreadableReplyError):
        parse_reward(reply(content, logprobs={"content": listed}))


class Clock:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def is_set(self) -> bool:
        return False


def starts(limit: RateLimit, clock: Clock, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        assert limit.wait(clock)
        times.append(round(clock.now, 6))
    return times


def test_forty_a_minute_is_one_every_second_and_a_half() -> None:
    clock = Clock()
    assert starts(RateLimit(40, clock=clock), clock, 4) == [0.0, 1.5, 3.0, 4.5]


def test_turns_that_nobody_took_do_not_pile_up() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    assert starts(limit, clock, 2) == [0, 1]
    clock.now = 100.0
    assert starts(limit, clock, 3) == [100, 101, 102]


def test_nobody_starts_during_a_pause_and_after_it_the_rate_still_holds() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    starts(limit, clock, 1)
    limit.pause(10)
    assert starts(limit, clock, 3) == [10, 11, 12]


def test_a_stopped_run_does_not_wait_for_its_place() -> None:
    limit, stopped = RateLimit(1), Event()
    assert limit.wait(stopped)
    stopped.set()
    assert not limit.wait(stopped)


@pytest.mark.parametrize(("header", "seconds"), [
    (None, 0), ("7", 7), (" 7 ", 7), ("Thu, 01 Jan 2026 11:00:00 GMT", 0), ("soon", 0), ("-3", 0),
    ("1.5", 0), ("9" * 400, 0)])
def test_retry_after_is_seconds(header: str | None, seconds: float) -> None:
    reply = requests.Response()
    reply.headers.update({} if header is None else {"Retry-After": header})
    assert retry_after(reply) == seconds


def test_retry_after_may_be_a_date() -> None:
    now = time.time()
    reply = requests.Response()
    reply.headers["Retry-After"] = formatdate(now + 3600, usegmt=True)
    wait, elapsed = retry_after(reply), time.time() - now
    assert 3599 - elapsed <= wait <= 3600  # a date has whole seconds


def conversation(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def test_the_estimate_makes_no_call_and_leaves_out_what_is_too_long() -> None:
    model = NemotronRewardModel(ApiSettings(context=100))
    estimate = model.estimate([conversation("p" * 40, "a" * 40)] * 80
                              + [conversation("p", "a" * 1000)])
    assert estimate == "80 calls, about 2 min at the rate limit, about 1600 tokens"


def test_what_the_api_would_refuse_is_missing_without_a_call(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-not-a-key")
    model = NemotronRewardModel(ApiSettings(base_url="http://127.0.0.1:9", context=100))
    refused = [conversation("p", "a" * 404), conversation("p", "  "),
               [{"role": "assistant", "content": "a"}],
               [{"role": "system", "content": "s"}, *conversation("p", "a")]]
    results = dict(model.stream(refused))
    assert model.score(refused) == [None] * 4
    assert results[0].reason == "about 101 tokens, and the API reads 100"
    assert results[1].reason == "a message is empty"
    assert "roles are" in results[2].reason
    assert "roles are" in results[3].reason
    assert not any(result.transient for result in results.values())


def test_the_hosted_api_without_a_key_stops_before_any_call(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    with pytest.raises(ApiStoppedError, match="NVIDIA_API_KEY is not set"):
        NemotronRewardModel(ApiSettings()).score([conversation("p", "a")])


@pytest.mark.parametrize("key", ["nvapi-two\nlines", "nvapi-\u20ac", "two words"])
def test_a_broken_key_stops_the_run_and_is_not_repeated(
        key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", key)
    with pytest.raises(ApiStoppedError, match="characters that no API key has") as error:
        NemotronRewardModel(ApiSettings()).probe()
    assert key not in str(error.value)


def test_a_key_in_a_text_is_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-secret")
    settings = ServerSettings("tiny", key_variable="NVIDIA_API_KEY")
    assert settings.without_key("bad key nvapi-secret!") == "bad key [API key]!"
    monkeypatch.delenv("NVIDIA_API_KEY")
    assert settings.without_key("bad key") == "bad key"


@pytest.mark.parametrize("wrong", [{"base_url": "integrate.api.nvidia.com"}, {"attempts": 0},
                                   {"concurrency": 0}, {"calls_per_minute": -1}])
def test_an_impossible_setting_is_named(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is"):
        ApiSettings(**wrong)
