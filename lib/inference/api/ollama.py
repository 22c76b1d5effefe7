"""Ollama's own interface, because its OpenAI-shaped one ignores top_k, min_p and penalties.

Ollama's defaults (top_k 40, top_p 0.9, in older versions a repetition penalty of 1.1, a context of
4,096 tokens that cuts longer prompts silently) hold for whatever a request does not set, and only
`options` of /api/chat sets them. Requests and replies are translated from and to chat completions.
"""

import json
from collections.abc import Mapping
from typing import Any

OPTIONS = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
           "repeat_penalty": "repeat_penalty", "repeat_last_n": "repeat_last_n",
           "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
           "seed": "seed", "max_tokens": "num_predict"}


def root_of(base_url: str) -> str:
    """The server's address without the part of the OpenAI-shaped interface."""
    return base_url.rstrip("/").removesuffix("/v1")


def request_of(payload: Mapping[str, Any], context: int) -> dict[str, Any]:
    """A request for a chat completion as Ollama's own; it gives one answer, whatever `n` says.

    context: tokens of prompt and answer; another number makes Ollama load the model again.
    """
    options = {name: payload[ours] for ours, name in OPTIONS.items() if ours in payload}
    if options.get("top_k", 0) < 0:
        options["top_k"] = 0  # the whole vocabulary
    options["num_ctx"] = context
    request = {"model": payload["model"], "messages": payload["messages"], "stream": False,
               "options": options}
    for name in ("logprobs", "top_logprobs"):
        if name in payload:
            request[name] = payload[name]
    return request


def completion_of(body: str) -> str:
    """Ollama's reply as a chat completion; raises ValueError for any other."""
    reply = json.loads(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("message"), dict):
        raise ValueError(f"a reply without a message: {body[:100]!r}")
    choice = {"index": 0, "message": reply["message"], "finish_reason": reply.get("done_reason")}
    if isinstance(reply.get("logprobs"), list):
        choice["logprobs"] = {"content": reply["logprobs"]}
    usage = {"prompt_tokens": reply.get("prompt_eval_count"),
             "completion_tokens": reply.get("eval_count")}
    return json.dumps({"choices": [choice], "usage": usage})
