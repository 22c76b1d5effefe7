"""The API client against a server on loopback that misbehaves in every way that was ever seen.

Two thousand conversations: the client is killed in the middle and started again. Nothing is lost,
nothing is wrong, nothing that was scored is asked for again, and the key is found nowhere.
"""

import os
import socket
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import ROOT
from lib.inference.api.transport import ApiStoppedError, EndpointGoneError
from lib.inference.rewards.cache import CachedRewardModel, ScoreCache, cached
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from tests.faults.hostile_server import (
    KEY,
    Server,
    conversation,
    reward_server,
    serving,
    true_reward,
)

ITEMS = 2000
CALLS_A_MINUTE = 24_000
CONCURRENCY = 8
CLIENT = f"""
import sys
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from tests_conversations import conversations
settings = ApiSettings(base_url=sys.argv[1], calls_per_minute=float(sys.argv[3]),
                       concurrency={CONCURRENCY}, timeout=0.5, attempts=6, backoff=0.005)
scores = cached(NemotronRewardModel(settings), ScoreCache(sys.argv[2])).score(conversations())
print(sum(score is not None for score in scores), "scored")
"""
CONVERSATIONS = f"""
def conversations():
    return [[{{"role": "user", "content": f"question {{n}}"}},
             {{"role": "assistant", "content": f"answer {{n}}"}}] for n in range({ITEMS})]
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(reward_server()) as started:
        yield started


@pytest.fixture
def troubled(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(reward_server(request.param)) as started:
        yield started


@pytest.fixture(autouse=True)
def planted_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client_for(server: Server, **settings: float) -> NemotronRewardModel:
    quick = {"calls_per_minute": 60_000, "backoff": 0.001, "timeout": 0.5} | settings
    return NemotronRewardModel(ApiSettings(base_url=server.url, **quick))


def start_client(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "tests_conversations.py").write_text(CONVERSATIONS)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT, server.url, str(folder / "scores.sqlite"),
             str(CALLS_A_MINUTE)], env=environment, stdout=output, stderr=output, cwd=folder)


def cached_model(folder: Path) -> CachedRewardModel:
    """The client's cache in front of an address where nothing answers."""
    return cached(NemotronRewardModel(ApiSettings(base_url="http://127.0.0.1:9", attempts=1)),
                  ScoreCache(folder / "scores.sqlite"))


def cached_answers(folder: Path) -> set[str]:
    everything = [conversation(number) for number in range(ITEMS)]
    lacking = cached_model(folder).lacking(everything)
    return {each[-1]["content"] for each in everything if each not in lacking}


def most_calls(times: list[float], seconds: float) -> int:
    """The most calls that reached the server within any stretch of so many seconds."""
    ordered = sorted(times)
    return max(number - bisect_left(ordered, end - seconds)
               for number, end in enumerate(ordered, start=1))


def allowed(seconds: float) -> float:
    """Calls that the rate lets start in a stretch, and those that were already on their way.

    A thread has one call at a time, so at most CONCURRENCY started before the stretch and arrive
    in it; twice that and twice the first call, because the client was started twice.
    """
    return seconds * CALLS_A_MINUTE / 60 + 2 * (1 + CONCURRENCY)


def test_killed_in_the_middle_of_two_thousand_nothing_is_lost_wrong_or_asked_twice(
        server: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    first = start_client(server, tmp_path)
    while len(server.scored) < ITEMS // 3:
        assert first.poll() is None
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    first.kill()
    first.wait()
    time.sleep(0.1)  # what the server still holds of the first client
    kept, before = cached_answers(tmp_path), Counter(server.calls)
    assert ITEMS // 5 < len(kept) < ITEMS

    second = start_client(server, tmp_path)
    assert second.wait(timeout=60) == 0, (tmp_path / "output.txt").read_text()
    asked_again = {answer for answer, calls in server.calls.items() if calls > before[answer]}
    everything = {f"answer {number}" for number in range(ITEMS)}
    assert asked_again == everything - kept

    scores = cached_model(tmp_path).score([conversation(number) for number in range(ITEMS)])
    assert scores == [true_reward(f"answer {number}") for number in range(ITEMS)]
    assert len(set(scores)) < ITEMS / 5  # exact ties did occur
    assert max(server.calls.values()) >= 3
    for seconds in (0.1, 0.5, 1.0):
        assert most_calls(server.times, seconds) <= allowed(seconds)
    found = [path for path in tmp_path.rglob("*") if path.is_file()
             and KEY.encode() in path.read_bytes()]
    assert found == []


def test_no_call_starts_before_the_rate_allows_it(server: Server) -> None:
    client = client_for(server, calls_per_minute=6000, concurrency=8)
    began = time.monotonic()
    assert None not in client.score([conversation(number) for number in range(60)])
    for calls, arrival in enumerate(sorted(server.times)):
        assert arrival - began >= calls * 0.01  # a busy machine delays calls and hastens none


@pytest.mark.parametrize("troubled", ["paused"], indirect=True)
def test_retry_after_pauses_every_thread(troubled: Server) -> None:
    client = client_for(troubled, concurrency=4, attempts=2)
    client.score([conversation(number) for number in range(4)])
    late = [when for when in troubled.times if when > troubled.times[0] + 0.3]
    assert late
    assert min(late) >= troubled.paused_until - 0.05


@pytest.mark.parametrize("troubled", ["nan", "html", "throttled", "cut", "two"], indirect=True)
def test_what_never_succeeds_is_missing_and_asked_again_next_time(
        troubled: Server, tmp_path: Path) -> None:
    model = cached(client_for(troubled, attempts=3), ScoreCache(tmp_path / "scores.sqlite"))
    (verdict,) = dict(model.stream([conversation(1)])).values()
    assert verdict.score is None
    assert verdict.transient
    assert verdict.reason.startswith("no usable reply after 3 attempts")
    assert KEY not in repr(verdict)
    assert troubled.calls["answer 1"] == 3
    model.score([conversation(1)])
    assert troubled.calls["answer 1"] == 6


@pytest.mark.parametrize("troubled", ["refused"], indirect=True)
def test_what_the_api_refuses_is_asked_once_and_remembered_without_the_key(
        troubled: Server, tmp_path: Path) -> None:
    model = cached(client_for(troubled), ScoreCache(tmp_path / "scores.sqlite"))
    assert model.score([conversation(1)]) == model.score([conversation(1)]) == [None]
    assert troubled.calls["answer 1"] == 1
    verdict = dict(model.stream([conversation(1)]))[0]
    assert verdict.reason == "the server refused it with 422: too long Bearer [API key]"


@pytest.mark.parametrize(("troubled", "sentence"), [
    ("key", "the API answered 401: the API key is missing or not valid; put a valid one into "
            "NVIDIA_API_KEY"),
    ("credits", "the API answered 402: the account has no credits left"),
    ("gone", "the API answered 410: nvidia/llama-3.1-nemotron-70b-reward has reached its end"),
    ("forever", "asks to wait 86400 s; run again after that"),
], indirect=["troubled"])
def test_a_hopeless_run_stops_at_once_and_says_what_to_do(
        troubled: Server, sentence: str, tmp_path: Path) -> None:
    model = cached(client_for(troubled), ScoreCache(tmp_path / "scores.sqlite"))
    with pytest.raises(ApiStoppedError) as error:
        model.score([conversation(number) for number in range(500)])
    assert sentence in str(error.value)
    assert KEY not in repr(error.value)
    assert error.value.__context__ is None
    assert len(troubled.times) < 500
    assert model.cache.count(model.identity) == 0


@pytest.mark.parametrize("troubled", ["gone"], indirect=True)
def test_the_probe_tells_that_the_endpoint_is_gone(troubled: Server) -> None:
    with pytest.raises(EndpointGoneError, match="has reached its end of life at http"):
        client_for(troubled).probe()
    assert len(troubled.times) == 1


def test_the_probe_of_a_healthy_endpoint_is_one_reward(server: Server) -> None:
    assert client_for(server).probe() == true_reward("2")


def test_without_a_network_items_are_missing_and_the_key_stays_inside(
        capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    client = NemotronRewardModel(ApiSettings(base_url=address, attempts=2, backoff=0.001,
                                             calls_per_minute=60_000))
    (verdict,) = dict(client.stream([conversation(1)])).values()
    assert verdict.score is None
    assert verdict.transient
    assert "ConnectionError" in verdict.reason
    everything = repr(verdict) + repr(client) + repr(vars(client)) + "".join(capfd.readouterr())
    assert KEY not in everything
