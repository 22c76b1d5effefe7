"""Replies that are broken or never end, on the way of their bytes: each call has an end."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lib.inference.api import transport
from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ApiStoppedError
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel
from lib.inference.sampling_settings import SamplingSettings
from tests.inference.fake_server import FakeServer, Reply, choice

SETTINGS = SamplingSettings(samples=1, max_new_tokens=8)
PROMPTS = [{"id": "p0", "prompt": "question", "source": "test"}]
LIMIT, PAUSE, DRIPS = 0.4, 0.02, 150  # seconds of a call and between drips, which take longer
LINE = b"HTTP/1.1 200 OK\r\n"
Parts = Callable[[bytes], Iterator[bytes]]  # of a reply with this body


def dripping(begin: bytes, drops: bytes, end: bytes) -> Iterator[bytes]:
    """Never silent, and whole in the end for a client that is too patient."""
    yield begin
    for _ in range(DRIPS):
        yield drops
        time.sleep(PAUSE)
    yield end


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(part), part)


CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Parts] = {
    "the status line": lambda body: dripping(b"HTTP/1.1 200 ", b"O", b"\r\n" + sized(body)),
    "a header": lambda body: dripping(LINE + b"X-Slow: ", b"a", b"\r\n" + sized(body)),
    "headers": lambda body: dripping(LINE, b"X", b": 1\r\n" + sized(body)),
    "whole lines": lambda body: dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", LINE + sized(body)),
    "a body with a length": lambda body: dripping(
        LINE + b"Content-Length: %d\r\n\r\n" % (DRIPS + len(body)), b" ", body),
    "a body in chunks": lambda body: dripping(CHUNKED, chunk(b" "), chunk(body) + chunk(b"")),
    "the length of a chunk": lambda body: dripping(CHUNKED + b"%x;" % len(body), b"a",
                                                   chunk(body)[3:] + chunk(b"")),
    "what follows the chunks": lambda body: dripping(CHUNKED + chunk(body) + b"0\r\nX: ", b"a",
                                                     b"\r\n\r\n"),
    "a body with an end": lambda body: dripping(LINE + b"\r\n", b" ", body),
    "a body of empty pieces": lambda body: dripping(
        LINE + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b""), gzip.compress(body)),
}


def compressed(body: bytes, times: int) -> Iterator[bytes]:
    for _ in range(times):
        body = gzip.compress(body, 1)
    yield LINE + b"Content-Encoding: %s\r\n" % b", ".join([b"gzip"] * times) + sized(body)


def endless(begin: bytes, part: bytes) -> Iterator[bytes]:
    yield begin
    while True:
        yield part


BROKEN: dict[str, Parts] = {
    "an endless body": lambda body: endless(LINE + b"\r\n", b" " * 10_000),
    "endless chunks": lambda body: endless(CHUNKED, chunk(b" " * 10_000)),
    "endless headers": lambda body: endless(LINE, b"X-More: and more\r\n"),
    "an endless header": lambda body: endless(LINE + b"X-More: ", b"a" * 1000),
    "an endless status": lambda body: endless(b"HTTP/1.1 200 ", b"O" * 1000),
    "endless promises": lambda body: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a gzip bomb": lambda body: compressed(b" " * 5_000_000 + body, 1),
    "a gzip bomb in a gzip bomb": lambda body: compressed(b" " * 5_000_000 + body, 2),
    "a length that is too large": lambda body: iter([LINE + sized(body + b"12345")[:-5]]),
    "a length that is too small": lambda body: iter([LINE + sized(body[:-9]) + body[-9:]]),
    "two lengths": lambda body: iter([LINE + b"Content-Length: 3\r\n" + sized(body)]),
    "nothing": lambda body: iter(()),
    "half a status line": lambda body: iter([b"HTTP/1.1 2"]),
    "a status line alone": lambda body: iter([LINE]),
    "half a header": lambda body: iter([LINE + b"Content-Len"]),
    "headers alone": lambda body: iter([LINE + sized(body)[:-len(body)]]),
    "half a chunk": lambda body: iter([CHUNKED + chunk(body)[:20]]),
    "no last chunk": lambda body: iter([CHUNKED + chunk(body[:-9])]),
    "half of a zip": lambda body: iter([b"".join(compressed(body, 1))[:-20]]),
    "another protocol": lambda body: iter([b"SSH-2.0-OpenSSH_9.9\r\n"]),
}


@pytest.fixture
def server(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.setattr(transport, "LARGEST", 1_000_000)
    return server


def sampled(server: FakeServer, folder: Path) -> str:
    settings = replace(server.settings, timeout=LIMIT)
    row, = sample_from_server(PROMPTS, SETTINGS, settings, folder / "rows.jsonl")
    return row["candidates"][0]["text"]


def scored(server: FakeServer, folder: Path) -> str:
    return str(NemotronRewardModel(ApiSettings(
        base_url=server.settings.base_url, timeout=LIMIT, backoff=0.01,
        calls_per_minute=60_000)).probe())


@pytest.mark.parametrize("ask", [sampled, scored])
@pytest.mark.parametrize("name", [*SLOW, *BROKEN])
def test_a_reply_that_drips_has_no_end_or_is_broken_is_asked_for_again(
        name: str, ask: Callable[[FakeServer, Path], str], server: FakeServer, tmp_path: Path
        ) -> None:
    def body(text: str) -> str:
        return json.dumps({"choices": [choice(text)]})

    def behave(asked: dict, call: int) -> Reply:
        if call:
            return 200, {}, body("-2.5")
        return (SLOW | BROKEN)[name](body("-1.5").encode())
    server.behave = behave
    assert ask(server, tmp_path) == "-2.5"
    assert len(server.asked) >= 2


@pytest.mark.parametrize("ask", [sampled, scored])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_server_that_sends_its_clients_in_a_circle_ends_the_run(
        status: int, ask: Callable[[FakeServer, Path], str], server: FakeServer, tmp_path: Path
        ) -> None:
    server.behave = lambda asked, call: (
        status, {"Location": f"{server.settings.base_url}/chat/completions"}, "")
    with pytest.raises(ApiStoppedError, match=f"answered {status}: .*check the base URL"):
        ask(server, tmp_path)
    assert len(server.asked) == 1
