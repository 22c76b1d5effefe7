"""A chat model on loopback that judges two answers as a test tells it to."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lib.inference.judges.settings import ChatJudgeSettings
from tests.inference.fake_server import FakeServer, Reply

ANSWERS = re.compile(r"<<ANSWER (?P<side>[AB]) (?P<mark>\w+)>>\n(?P<text>.*?)\n"
                     r"<<END ANSWER (?P=side) (?P=mark)>>", re.DOTALL)
Taste = Callable[[str, str], str]  # the answers in the order shown -> the reply


def shown_answers(asked: dict[str, Any]) -> tuple[str, str]:
    """The two answers as the judge was shown them."""
    found = {match["side"]: match["text"] for match in ANSWERS.finditer(message(asked))}
    return found["A"], found["B"]


def message(asked: dict[str, Any]) -> str:
    (only,) = asked["messages"]
    return only["content"]


def completion(text: str, finish: str = "stop", tokens: tuple[int, int] | None = (100, 10),
               logprobs: dict[str, float] | None = None) -> Reply:
    """A chat completion; logprobs: of candidates for the first token."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text},
                              "finish_reason": finish}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": [
            {"token": token, "logprob": value} for token, value in logprobs.items()]}]}
    usage = {} if tokens is None else {
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    return 200, {}, json.dumps({"choices": [choice]} | usage)


def longer(first: str, second: str) -> str:
    """A judge without bias: the longer answer wins."""
    return "[[A]]" if len(first) > len(second) else "[[B]]" if first != second else "[[TIE]]"


def biased(share: float, fair: Taste) -> Taste:
    """A judge that names the answer shown first on a share of its questions, otherwise is fair."""
    def taste(first: str, second: str) -> str:
        return "[[A]]" if chance(first, second) < share else fair(first, second)
    return taste


def chance(*texts: str) -> float:
    """A number in 0 to 1 that depends on nothing but the texts and their order."""
    digest = hashlib.sha256("\n".join(texts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@contextmanager
def judging(taste: Taste = longer) -> Iterator[FakeServer]:
    """A server that replies by taste."""
    server = FakeServer()
    server.behave = lambda asked, call: completion(taste(*shown_answers(asked)))
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def settings_for(server: FakeServer, **changes: Any) -> ChatJudgeSettings:
    """Settings that reach the server."""
    return ChatJudgeSettings(**{"model": "tiny", "base_url": server.settings.base_url,
                                "key_variable": "STUDY_TEST_KEY", "concurrency": 4} | changes)
