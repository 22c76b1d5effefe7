"""An OpenAI-compatible chat server on loopback that behaves as a test tells it to."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lib.inference.api.capabilities import QUESTION
from lib.inference.api.transport import ServerSettings
from lib.inference.judges.chat_judge import PROBE

# None cuts the connection; bytes are sent as they are, status line and all, until it is cut
Reply = tuple[int, dict[str, str], str | Iterable[str]] | Iterator[bytes] | None


def choice(text: str = "an answer", finish: str | None = "stop") -> dict[str, Any]:
    content = [{"token": word, "logprob": -0.5} for word in text.split()]
    return {"message": {"role": "assistant", "content": text}, "finish_reason": finish,
            "logprobs": {"content": content}}


def good(asked: dict[str, Any]) -> Reply:
    question = asked["messages"][-1]["content"]
    choices = [choice(f"answer {number} to {question}") for number in range(asked.get("n", 1))]
    return 200, {}, json.dumps({"choices": choices, "usage": {"prompt_tokens": 9}})


def is_test(asked: dict[str, Any]) -> bool:
    """Whether a request only finds out what the server can."""
    content = asked["messages"][-1]["content"]
    return content == QUESTION[-1]["content"] or PROBE.prompt in content


class SixthVersion(ThreadingHTTPServer):
    """For an IPv6 address."""

    address_family = socket.AF_INET6


class FakeServer:
    """Keeps what it was asked; `behave` makes a reply to (request, earlier calls on its prompt).

    tests_too: `behave` also replies to the questions that find out what the server can.
    listed: what GET replies by path.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.tests_too = False
        self.listed: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.behave: Callable[[dict[str, Any], int], Reply] = lambda asked, call: good(asked)
        kind = SixthVersion if ":" in host else ThreadingHTTPServer
        self.host, self.http = host, kind((host, 0), self._handler())
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(fake) -> type:  # noqa: ANN001, N805
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                earlier = sum(old["messages"] == asked["messages"] for old in fake.asked)
                test = is_test(asked) and not fake.tests_too
                if not test:
                    fake.asked.append(asked)
                    fake.headers.append(self.headers["Authorization"])
                reply = good(asked) if test else fake.behave(asked, earlier)
                self.send(reply if self.path in ("/v1/chat/completions", "/api/chat") else None)

            def do_GET(self) -> None:
                found = fake.listed.get(self.path)
                self.send((404, {}, "") if found is None else (200, {}, json.dumps(found)))

            def send(self, reply: Reply) -> None:
                if reply is None:
                    self.connection.close()
                    return
                if isinstance(reply, Iterator):
                    with suppress(OSError):
                        for part in reply:
                            self.wfile.write(part)
                    self.close_connection = True
                    return
                status, headers, body = reply
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if isinstance(body, str):
                    self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                for part in [body] if isinstance(body, str) else body:  # parts that drip
                    self.wfile.write(part.encode())

            def log_message(self, *_: object) -> None:
                pass
        return Handler

    @property
    def settings(self) -> ServerSettings:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ServerSettings("tiny", f"http://{host}:{self.http.server_port}/v1",
                              key_variable="STUDY_TEST_KEY", backoff=0.01, concurrency=4)
