"""Sampling from any OpenAI-compatible server: vLLM, SGLang, llama.cpp, NIM.

Rows have the schema of `lib.inference.sampling`, so that later stages need not know where answers
come from. `logprob` is the sum that the server reports (vLLM and llama.cpp: under the policy at
temperature 1, without the stop token), `token_ids` what vLLM returns on request; both, like
`tokens`, are null where the server reports none, and `sampling_logprob` always is. The server may
cut prompts. A seed depends on the stream and the prompt's id alone; equal seeds give equal text on
servers that support it.
"""

import hashlib
import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from lib.inference.api.transport import (
    NoReplyError,
    RequestRefusedError,
    ServerSettings,
    Transport,
)
from lib.inference.partial_file import PartialFile
from lib.inference.prompts import Prompt, messages_of
from lib.inference.sampling import CANDIDATE
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.progress import Progress


class ServerSamplingError(RuntimeError):
    """A prompt got no answers; the partial file keeps finished prompts."""


def sample_from_server(prompts: Sequence[Prompt], settings: SamplingSettings,
                       server: ServerSettings, path: Path | str,
                       model_key: str = "") -> list[Row]:
    """Rows of all prompts in their order, written to a JSON Lines file; resumable by prompt.

    model_key: an identity of the served weights beyond their name, such as a hash. Raises
    ServerSamplingError, which names the prompt, when every attempt failed or the server refused it,
    and ApiStoppedError when the key, the address or the model is wrong.
    """
    key = sha256_of_value([server.base_url, server.model, model_key, settings.deciding(),
                           CANDIDATE])
    partial = PartialFile(path, key)
    missing = partial.missing(prompts)
    transport = Transport(server)
    with Progress(f"sampling from {server.model}", len(missing), "prompt") as progress:
        for _, row in transport.map(lambda prompt: _row(transport, prompt, settings), missing):
            partial.append(row)
            progress.advance()
    return partial.finish([prompt["id"] for prompt in prompts])


def _row(transport: Transport, prompt: Prompt, settings: SamplingSettings) -> Row:
    """A prompt's row; another call fetches answers that a server did not give in the first."""
    candidates: list[Row] = []
    while len(candidates) < settings.samples:
        payload = _payload(transport.settings.model, prompt, settings, len(candidates))
        try:
            (more, prompt_tokens), _ = transport.post(payload, _parse)
        except (RequestRefusedError, NoReplyError) as error:
            raise ServerSamplingError(
                f"no answers to prompt {prompt['id']!r}: {error}; a server with OpenAI's options "
                "alone needs top_k null and repetition_penalty 1") from error
        candidates += more[:settings.samples - len(candidates)]
    return {"id": prompt["id"], "prompt": prompt["prompt"], "source": prompt["source"],
            "prompt_tokens": prompt_tokens, "prompt_truncated": False, "candidates": candidates}


def _payload(model: str, prompt: Prompt, settings: SamplingSettings, have: int) -> dict[str, Any]:
    digest = hashlib.sha256(
        f"{settings.seed}\n{settings.stream}\n{have}\n{prompt['id']}".encode()).digest()
    wanted = 1 if settings.temperature == 0 else settings.samples - have  # vLLM wants 1 if greedy
    payload = {"model": model, "messages": messages_of(prompt), "n": wanted,
               "seed": int.from_bytes(digest[:4], "big") >> 1, "temperature": settings.temperature,
               "top_p": settings.top_p, "max_tokens": settings.max_new_tokens, "logprobs": True}
    if settings.top_k is not None:  # an option of vLLM, SGLang and llama.cpp, not of OpenAI
        payload |= {"top_k": settings.top_k, "return_token_ids": True}
    if settings.repetition_penalty != 1:
        payload["repetition_penalty"] = settings.repetition_penalty
    return payload


def _parse(body: str) -> tuple[list[Row], int | None]:
    """Candidates and the number of prompt tokens; raises ValueError for any other reply."""
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
    return dict(zip(CANDIDATE, (text, _token_ids(choice), tokens, finish, logprob, None),
                    strict=True))


def _token_ids(choice: Row) -> list[int] | None:
    """The choice's token ids as vLLM reports them; None unless they are a list of numbers."""
    ids = choice.get("token_ids")
    fine = isinstance(ids, list) and all(type(token) is int for token in ids)
    return ids if fine else None
