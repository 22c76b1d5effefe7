"""Sampling from any OpenAI-compatible server: vLLM, SGLang, llama.cpp, NIM.

The same rows come back as from `lib.inference.sampling`, so that all that follows does not care who
wrote the answers. `logprob` is the sum that the server reports (vLLM and llama.cpp: under the
policy at temperature 1, without the stop token), null where it reports none; `sampling_logprob` is
always null, and `tokens` is null where the server does not tell. Prompts are cut by the server or
not at all. Seeds depend on the prompt's id alone; that equal seeds give equal text is for the
server to keep. The API key is read from the environment variable that the settings name.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lib.inference.api.rate_limit import TokenBucket
from lib.inference.api.transport import (
    ANSWERS,
    Endpoint,
    GaveUpError,
    ItemRefusedError,
    Transport,
)
from lib.inference.partial_file import PartialFile
from lib.inference.prompts import Prompt, messages_of
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.progress import Progress


@dataclass(frozen=True)
class ServerSettings:
    """How to reach the server; a value that cannot be used raises ValueError."""

    model: str  # the name under which the server knows it
    base_url: str = "http://localhost:8000/v1"
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key, if one is asked
    concurrency: int = 8  # prompts under way at the same time
    calls_per_minute: float = 60_000.0
    timeout: float = 600.0  # seconds without a byte
    attempts: int = 6
    backoff: float = 1.0  # seconds before the second attempt, then doubling, with jitter
    longest_wait: float = 600.0  # seconds; a Retry-After above it ends the run

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url is {self.base_url!r}; use an http or https address such as "
                             "http://localhost:8000/v1")
        for name in ("concurrency", "calls_per_minute", "timeout", "attempts"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use a number above 0")


class ServerSamplingError(RuntimeError):
    """A prompt that got no answers; what was finished before is kept in the partial file."""


def sample_from_server(prompts: Sequence[Prompt], settings: SamplingSettings,
                       server: ServerSettings, path: Path | str,
                       model_key: str = "") -> list[Row]:
    """Rows of all prompts in their order, written to a JSON Lines file; resumable by prompt.

    model_key: what tells the served weights from others under the same name, if it is known.
    Raises ServerSamplingError, which names the prompt, when every attempt failed or the server
    refused it, and ApiStoppedError when the key, the address or the model is wrong.
    """
    key = sha256_of_value([server.base_url, server.model, model_key, settings.deciding()])
    partial = PartialFile(path, key)
    done = {row["id"] for row in partial.rows}
    for row in _rows([prompt for prompt in prompts if prompt["id"] not in done], settings, server):
        partial.append(row)
    return partial.finish([prompt["id"] for prompt in prompts])


def _rows(prompts: Sequence[Prompt], settings: SamplingSettings,
          server: ServerSettings) -> Iterator[Row]:
    """Yield rows as they are finished; the first failure stops the calls under way."""
    transport = _transport(server)
    with (ThreadPoolExecutor(server.concurrency) as pool,
          Progress(f"sampling from {server.model}", len(prompts), "prompt") as progress):
        calls = [pool.submit(_row, transport, prompt, settings) for prompt in prompts]
        try:
            for call in as_completed(calls):
                yield call.result()
                progress.advance()
        finally:
            transport.stopped.set()
            pool.shutdown(cancel_futures=True)


def _transport(server: ServerSettings) -> Transport:
    options = asdict(server)
    bucket = TokenBucket(options.pop("calls_per_minute"), burst=options.pop("concurrency"))
    return Transport(Endpoint(url=options.pop("base_url").rstrip("/"), purpose=ANSWERS, **options),
                     bucket)


def _row(transport: Transport, prompt: Prompt, settings: SamplingSettings) -> Row:
    """A prompt's row; asks again for what is missing where a server gives fewer than n answers."""
    candidates: list[Row] = []
    while len(candidates) < settings.samples:
        payload = _payload(transport.endpoint.model, prompt, settings, len(candidates))
        try:
            (more, prompt_tokens), _ = transport.post(payload, _parse)
        except (ItemRefusedError, GaveUpError) as error:
            raise ServerSamplingError(
                f"no answers to prompt {prompt['id']!r}: {error}; a server that knows only OpenAI's"
                " own options needs top_k null and repetition_penalty 1") from error
        candidates += more[:settings.samples - len(candidates)]
    return {"id": prompt["id"], "prompt": prompt["prompt"], "source": prompt["source"],
            "prompt_tokens": prompt_tokens, "prompt_truncated": False, "candidates": candidates}


def _payload(model: str, prompt: Prompt, settings: SamplingSettings, have: int) -> dict[str, Any]:
    digest = hashlib.sha256(f"{settings.seed}\n{have}\n{prompt['id']}".encode()).digest()
    wanted = 1 if settings.temperature == 0 else settings.samples - have  # vLLM wants 1 if greedy
    payload = {"model": model, "messages": messages_of(prompt), "n": wanted,
               "seed": int.from_bytes(digest[:4], "big") >> 1, "temperature": settings.temperature,
               "top_p": settings.top_p, "max_tokens": settings.max_new_tokens, "logprobs": True}
    if settings.top_k is not None:  # not OpenAI's, but vLLM, SGLang and llama.cpp know it
        payload["top_k"] = settings.top_k
    if settings.repetition_penalty != 1:
        payload["repetition_penalty"] = settings.repetition_penalty
    return payload


def _parse(body: str) -> tuple[list[Row], int | None]:
    """Candidates and the prompt's tokens; raises ValueError where the body is no such reply."""
    reply = json.loads(body)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"a reply without choices: {body[:100]!r}")
    usage = reply["usage"] if isinstance(reply.get("usage"), dict) else {}
    alone = usage.get("completion_tokens") if len(choices) == 1 else None
    return [_candidate(choice, alone) for choice in choices], usage.get("prompt_tokens")


def _candidate(choice: Any, completion_tokens: int | None) -> Row:
    try:
        text, finish = choice["message"]["content"] or "", choice["finish_reason"]
        content = (choice.get("logprobs") or {}).get("content")
        logps = None if content is None else [float(token["logprob"]) for token in content]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a choice that cannot be read: {str(choice)[:100]}") from error
    if finish not in ("stop", "length") or not isinstance(text, str):
        raise ValueError(f"an answer that ended with {finish!r} and not with stop or length")
    tokens = completion_tokens if logps is None or completion_tokens else len(logps)
    logprob = None if logps is None or not isfinite(sum(logps)) else sum(logps)
    return {"text": text, "tokens": tokens, "finish": finish, "logprob": logprob,
            "sampling_logprob": None}
