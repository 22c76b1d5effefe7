"""A server on loopback that misbehaves in every way that was ever seen, and counts its calls."""

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lib.inference.rewards import Conversation
from tests.inference.fake_server import choice, is_test

KEY = "nvapi-planted-0123456789"
LINE = b"HTTP/1.1 200 OK\r\n"
SPACINGS = ("reward:{}", "reward: {}", "  reward :{}\n", "{}", "REWARD:\t{} ")
Request = dict[str, Any]


def number_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def true_reward(answer: str) -> float:
    """In steps of 1/8 from few values, so that exact ties between answers are common."""
    return -(number_of(answer) % 240) / 8


def conversation(number: int) -> Conversation:
    return [{"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": f"answer {number}"}]


class Server(ThreadingHTTPServer):
    """right: the choices of the right reply to a request, and `troubles` what else it may do.

    Three items in ten first meet one to three troubles, `hopeless` in a hundred nothing else.
    `always` makes every call meet the same trouble. odd: other spellings of a right reply, which
    one item in two gets.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, right: Callable[[Request], list[Request]], troubles: dict[str, "Trouble"],
                 always: str | None = None, hopeless: int = 0,
                 odd: "dict[str, Trouble] | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.right, self.troubles, self.odd = right, troubles, odd or {}
        self.always, self.hopeless = always, hopeless
        self.lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.scored: Counter[str] = Counter()
        self.times: list[float] = []
        self.paused_until = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def trouble(self, item: str) -> str | None:
        """What this call on an item meets, or None."""
        with self.lock:
            self.calls[item] += 1
            nth = self.calls[item]
        if not self.is_hopeless(item) and (self.always or nth > number_of(item) % 10 - 6):
            return self.always
        return self._drawn(self.troubles, f"{item} {nth}")

    def spelling(self, item: str) -> str | None:
        """How the right reply to an item is spelled in another way, or None."""
        return self._drawn(self.odd, item) if self.odd and number_of(f"odd {item}") % 2 else None

    def _drawn(self, names: "dict[str, Trouble]", by: str) -> str:
        name = sorted(names)[number_of(by) % len(names)]
        with self.lock:
            self.met[name] += 1
        return name

    def is_hopeless(self, item: str) -> bool:
        return number_of(f"hopeless {item}") % 100 < self.hopeless

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        """Clients that were killed or cut off are part of the test, not noise on stderr."""


class Handler(BaseHTTPRequestHandler):
    """One call: trouble, or the right reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each reply waits 40 ms for an acknowledgement
    server: Server

    def do_POST(self) -> None:
        now = time.monotonic()
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.item = self.asked["messages"][-1]["content"]
        with self.server.lock:
            self.server.times.append(now)
        trouble = None if is_test(self.asked) else self.server.trouble(self.item)
        if self.path != "/v1/chat/completions" or self.headers.get("Authorization") != (
                f"Bearer {KEY}"):
            trouble = "key"
        if trouble:
            (ENDING | self.server.troubles)[trouble](self)
            return
        with self.server.lock:
            self.server.scored[self.item] += 1
        if not is_test(self.asked) and (odd := self.server.spelling(self.item)):
            self.server.odd[odd](self)
        else:
            self.send(200, self.right())

    def do_GET(self) -> None:
        self.send(404, "")

    def right(self) -> str:
        return completion(self.server.right(self.asked))

    def altered(self, **changes: Any) -> None:
        """The right reply, with other fields in the first choice."""
        first, *rest = self.server.right(self.asked)
        self.send(200, completion([first | changes, *rest]))

    def send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


Trouble = Callable[[Handler], None]


def completion(choices: list[Request], **fields: Any) -> str:
    return json.dumps({"choices": choices} | fields)


def rewards(asked: Request) -> list[Request]:
    """The reward of an answer in one of several spellings."""
    answer = asked["messages"][-1]["content"]
    spelling = SPACINGS[number_of(answer) % len(SPACINGS)]
    return [choice(spelling.format(true_reward(answer)))]


def answers(asked: Request) -> list[Request]:
    """So many answers as are asked for, each with its question and seed in it."""
    question, seed = asked["messages"][-1]["content"], asked.get("seed")
    return [choice(f"answer {number} of seed {seed} to {question}") | {"index": number}
            for number in range(asked.get("n", 1))]


def _cut(*parts: bytes, pause: float = 0.0) -> "Trouble":
    """These bytes in place of a reply, and then the connection's end."""
    def send(handler: Handler) -> None:
        with suppress(OSError):  # of a client that has gone
            for part in parts:
                handler.wfile.write(part)
                time.sleep(pause)
            handler.connection.shutdown(socket.SHUT_RDWR)
    return send


def _other_length(handler: Handler, more: int) -> None:
    right = handler.right()
    handler.send(200, right, {"Content-Length": str(len(right.encode()) + more)})
    if more > 0:
        handler.connection.shutdown(socket.SHUT_RDWR)


def _seldom(slow: "Trouble") -> "Trouble":
    """A trouble of a few items: each costs the client its whole time-out."""
    return lambda handler: (slow if number_of(handler.item) % 10 == 0 else _broken)(handler)


def _broken(handler: Handler) -> None:
    handler.send(500, "<html>Internal error</html>")


def _slow(handler: Handler) -> None:
    time.sleep(0.8)
    handler.send(500, "slow")


def _paused(handler: Handler) -> None:
    with handler.server.lock:
        first = handler.server.paused_until == 0
        if first:
            handler.server.paused_until = time.monotonic() + 1
    handler.send(429, "{}", {"Retry-After": "1"} if first else {})


ENDING: dict[str, Trouble] = {  # no call can succeed, or no other call on this item
    "key": lambda h: h.send(401, f"invalid key: {h.headers.get('Authorization')}"),
    "credits": lambda h: h.send(402, "{}"),
    "gone": lambda h: h.send(410, '{"title": "Gone", "status": 410}'),
    "refused": lambda h: h.send(422, f"too long {h.headers.get('Authorization')}"),
    "forever": lambda h: h.send(429, "{}", {"Retry-After": "86400"}),
}
HTTP: dict[str, Trouble] = {
    "html": lambda h: h.send(200, f"<html>Busy. {h.headers.get('Authorization')}</html>"),
    "throttled": lambda h: h.send(429, '{"title": "Too Many Requests"}'),
    "paused": _paused,
    "date": lambda h: h.send(503, "{}", {"Retry-After": formatdate(usegmt=True)}),
    "broken": _broken,
    "gateway": lambda h: h.send(502, ""),
    "timeout": lambda h: h.send(504, "upstream timed out"),
    "cut": _cut(LINE, b"Content-Length: 500\r\n\r\n{\"choices\": ["),
    "half of the headers": _cut(LINE, b"Content-Le"),
    "a longer length": lambda h: _other_length(h, 9),
    "a shorter length": lambda h: _other_length(h, -9),
    "slow headers": _seldom(_cut(LINE, *[b"X: a\r\n"] * 40, pause=0.02)),
    "closed": lambda h: h.connection.shutdown(socket.SHUT_RDWR),
    "slow": _seldom(_slow),
    "half": lambda h: h.send(200, h.right()[:-9]),
    "twice": lambda h: h.send(200, h.right() * 2),
    "empty": lambda h: h.send(200, ""),
    "no gzip": lambda h: h.send(200, h.right(), {"Content-Encoding": "gzip"}),
    "error in 200": lambda h: h.send(200, '{"error": {"message": "overloaded", "code": 503}}'),
    "brackets": lambda h: h.send(200, "[" * 5000),
    "null": lambda h: h.send(200, "null"),
    "no choices": lambda h: h.send(200, "{}"),
    "zero choices": lambda h: h.send(200, completion([])),
    "null choice": lambda h: h.send(200, completion([None])),
    "no message": lambda h: h.send(200, completion([{"index": 0, "finish_reason": "stop"}])),
    "number": lambda h: h.altered(message={"role": "assistant", "content": 7}),
    "two messages": lambda h: h.altered(message=[{"content": "reward:-1"}] * 2),
}
REWARD_TROUBLES = HTTP | {
    "nan": lambda h: h.altered(message={"content": "reward:nan"}),
    "infinite": lambda h: h.altered(message={"content": "reward:1e999"}),
    "two": lambda h: h.altered(message={"content": "reward:-1.0 reward:-2.0"}),
    "text": lambda h: h.altered(message={"content": "I would rate this 7 of 10."}),
    "no content": lambda h: h.altered(message={"role": "assistant"}),
    "two choices": lambda h: h.send(200, completion(h.server.right(h.asked) * 2)),
    "endless number": lambda h: h.altered(message={"content": ""}, logprobs={"content": [
        {"token": "helpfulness", "logprob": 10 ** 400}]}),
}
SAMPLING_TROUBLES = HTTP | {
    "no end": lambda h: h.altered(finish_reason=None),
    "aborted": lambda h: h.altered(finish_reason="abort"),
    "twice one index": lambda h: h.send(200, completion(
        [each | {"index": place} for each, place in
         zip(h.server.right(h.asked), (0, 0, 1), strict=False)])),
}
ODD_BUT_RIGHT: dict[str, Trouble] = {
    "fewer": lambda h: h.send(200, completion(h.server.right(h.asked)[:1])),
    "more": lambda h: h.send(200, completion(h.server.right(
        h.asked | {"n": h.asked["n"] + 2}))),
    "another order": lambda h: h.send(200, completion(h.server.right(h.asked)[::-1])),
    "no index": lambda h: h.send(200, completion(
        [{key: value for key, value in each.items() if key != "index"}
         for each in h.server.right(h.asked)])),
    "nan": lambda h: h.altered(logprobs={"content": [{"logprob": float("nan")}]}),
    "certain": lambda h: h.altered(logprobs={"content": [{"logprob": 3.5}]}),
    "nan tokens": lambda h: h.send(200, completion(h.server.right(h.asked), usage={
        "prompt_tokens": float("nan"), "completion_tokens": -3})),
    "tokens as text": lambda h: h.send(200, completion(h.server.right(h.asked), usage={
        "prompt_tokens": "nine", "completion_tokens": [1]})),
}


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server at work."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reward_server(always: str | None = None, hopeless: int = 0) -> Server:
    return Server(rewards, REWARD_TROUBLES, always, hopeless)


def sampling_server(hopeless: int = 0) -> Server:
    return Server(answers, SAMPLING_TROUBLES, None, hopeless, ODD_BUT_RIGHT)
