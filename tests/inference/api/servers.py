"""Servers of one shape as they differ: what they take, refuse and ignore, and how they reply.

A server's model writes a fixed text greedily and random words otherwise, so that what a server does
with its options shows in its answers as it does with a real one. `used` keeps the options with
which each answer was drawn. The forms of requests and replies follow the servers' documentation.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.inference.fake_server import FakeServer, Reply, is_test

WORDS = ("amber", "brook", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "knoll")
OPENAI = {"temperature": 1.0, "top_p": 1.0, "seed": None, "frequency_penalty": 0.0,
          "presence_penalty": 0.0}
SHAPE = {"model", "messages", "n", "logprobs", "top_logprobs"}


@dataclass(frozen=True)
class Kind:
    """options: what it heeds, with its defaults. strict: refuses any other field.

    most: answers a request; above it `n` is refused with `status`, or ignored where that is None.
    """

    options: Mapping[str, Any]
    owner: str
    strict: bool = False
    most: int = 64
    status: int | None = 400
    penalty: str = "repetition_penalty"
    limit: str = "max_tokens"
    gives: tuple[str, ...] = ("logprobs",)


VLLM = Kind(OPENAI | {"top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1}, "vllm",
            gives=("logprobs", "token_ids"))
SGLANG = Kind(OPENAI | {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}, "sglang")
LLAMA_OPTIONS = OPENAI | {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05,
                          "repeat_penalty": 1.0, "repeat_last_n": 64}
LLAMA = Kind(LLAMA_OPTIONS, "llamacpp", most=4, penalty="repeat_penalty")
OLDER_LLAMA = Kind(LLAMA_OPTIONS, "llamacpp", most=1, status=500, penalty="repeat_penalty")
LLAMA_PYTHON = Kind(LLAMA_OPTIONS, "me", most=1, status=None, penalty="repeat_penalty", gives=())
LM_STUDIO = Kind(OPENAI | {"top_k": 40, "repeat_penalty": 1.1}, "organization_owner", most=1,
                 status=None, penalty="repeat_penalty", gives=())
NIM = Kind(VLLM.options, "system", strict=True)
HOSTED = Kind(OPENAI, "openai", strict=True)
REASONING = Kind({"seed": None}, "openai", strict=True, limit="max_completion_tokens", gives=())
IGNORING = Kind(OPENAI, "somebody")
OLLAMA = Kind({"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.1,
               "seed": None, "num_predict": -1, "num_ctx": 4096}, "library", most=1,
              penalty="repeat_penalty")


@contextmanager
def serving(kind: Kind, model: str = "tiny") -> Iterator[FakeServer]:
    """A server of a kind; `server.used` has the options of every answer to a prompt."""
    server, server_used = FakeServer(), []
    server.used, server.tests_too = server_used, True
    server.listed = {"/v1/models": {"object": "list", "data": [
        {"id": model, "object": "model", "owned_by": kind.owner}]}}
    if kind is OLLAMA:
        server.listed["/api/version"] = {"version": "0.12.6"}
    server.behave = lambda asked, call: (ollama if kind is OLLAMA else openai)(
        kind, asked, server_used)
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


def openai(kind: Kind, asked: dict[str, Any], used: list) -> Reply:
    """A reply in OpenAI's shape, or a refusal in its."""
    unknown = sorted(asked.keys() - kind.options.keys() - SHAPE - {kind.limit})
    if kind.strict and unknown:
        return refusal(f"Unsupported parameter: '{unknown[0]}'" + (
            f"; use '{kind.limit}' instead" if unknown[0] == "max_tokens" else ""))
    n = asked.get("n", 1)
    if n > kind.most and kind.status:
        return refusal("Only one completion choice is allowed", kind.status)
    options = {name: asked.get(name, default) for name, default in kind.options.items()}
    keep(used, asked, options)
    texts = [written(options, kind.penalty, place) for place in range(min(n, kind.most))]
    choices = [{"index": place, "finish_reason": "stop",
                "message": {"role": "assistant", "content": text}}
               | given(kind, asked, text) for place, text in enumerate(texts)]
    return 200, {}, json.dumps({
        "object": "chat.completion", "model": asked["model"], "choices": choices,
        "usage": {"prompt_tokens": 9, "completion_tokens": sum(len(t.split()) for t in texts)}})


def given(kind: Kind, asked: dict[str, Any], text: str) -> dict[str, Any]:
    """What a choice holds beside its message."""
    found = {}
    if "logprobs" in kind.gives and asked.get("logprobs"):
        found["logprobs"] = {"content": [{"token": word, "logprob": -0.5, "top_logprobs": []}
                                         for word in text.split()]}
    if "token_ids" in kind.gives and asked.get("return_token_ids"):
        found["token_ids"] = [WORDS.index(word) for word in text.split()]
    return found


def ollama(kind: Kind, asked: dict[str, Any], used: list) -> Reply:
    """A reply of /api/chat; of the OpenAI-shaped interface, which heeds OpenAI's options alone."""
    if "options" not in asked:
        return openai(IGNORING, asked, used)
    options = dict(kind.options) | asked["options"]
    keep(used, asked, options)
    text = written(options, kind.penalty, 0)
    return 200, {}, json.dumps({
        "model": asked["model"], "message": {"role": "assistant", "content": text}, "done": True,
        "done_reason": "stop", "prompt_eval_count": 9, "eval_count": len(text.split())})


def keep(used: list, asked: dict[str, Any], options: dict[str, Any]) -> None:
    if not is_test(asked):
        used.append(options)


def refusal(message: str, status: int = 400) -> Reply:
    return status, {}, json.dumps({"error": {
        "message": message, "type": "invalid_request_error", "code": None}})


def written(options: Mapping[str, Any], penalty: str, place: int) -> str:
    """An answer of six words: always the same one where a single token is left to draw."""
    greedy = options.get("temperature", 1) == 0 or options.get("top_k") == 1 \
        or options.get("min_p") == 1
    start = 0 if options.get(penalty, 1) < 1.5 else 3
    draw = Random(f"{options.get('seed')} {place}")
    return " ".join(WORDS[start + number] if greedy else draw.choice(WORDS)
                    for number in range(6))
