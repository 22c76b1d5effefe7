"""Sampling from any OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama, LM Studio, NIM.

Rows have the schema of `lib.inference.sampling`, so that later stages need not know where answers
come from. `logprob` is the sum that the server reports (vLLM and llama.cpp: under the policy at
temperature 1, without the stop token), `token_ids` what vLLM returns on request; both, like
`tokens`, are null where the server reports none, and `sampling_logprob` always is. The server may
cut prompts. A seed depends on the stream and the prompt's id alone; equal seeds give equal text on
servers that support it.

What a server does not answer is missing, with the reason, and counted: an answer that it filtered,
a prompt that it refuses. A server that answers nothing ends the run.
"""

import hashlib
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lib.data.schema import is_missing
from lib.inference.api.capabilities import (
    NEUTRAL,
    PENALTIES,
    ChatServer,
    connect,
)
from lib.inference.api.replies import ONLY_REASONING, candidates_of, missing_candidate
from lib.inference.api.transport import (
    ApiStoppedError,
    NoReplyError,
    RequestRefusedError,
    ServerSettings,
    Transport,
)
from lib.inference.partial_file import PartialFile
from lib.inference.prompts import Prompt, check_ids, messages_of
from lib.inference.sampling_settings import CANDIDATE, SamplingSettings
from lib.runtime.files import Row, sha256_of_value
from lib.runtime.progress import Progress, say

SILENT = 5  # prompts in a row without any answer: does the server still answer a test question?
OFF = {"temperature": (1.0, "1"), "top_p": (1.0, "1"), "top_k": (None, "null"),
       "repetition_penalty": (1.0, "1")}  # the neutral value of each option, and how it is written


class ServerSamplingError(RuntimeError):
    """A server gave no answers; the partial file keeps finished prompts."""


def sample_from_server(prompts: Sequence[Prompt], settings: SamplingSettings,
                       server: ServerSettings, path: Path | str,
                       model_key: str = "") -> list[Row]:
    """Rows of all prompts in their order, written to a JSON Lines file; resumable by prompt.

    model_key: an identity of the served weights beyond their name, such as a hash. Raises
    ServerSamplingError, which names a prompt, when the server answers none, and ApiStoppedError
    when the key, the address or the model is wrong or the server does not sample as it is told.
    """
    check_ids(prompts)
    key = sha256_of_value([server.base_url, server.model, model_key, settings.deciding(),
                           CANDIDATE])
    partial = PartialFile(path, key)
    missing = partial.missing(prompts)
    if missing:
        chat = connect_for(settings, server)
        rows = _rows(chat, missing, settings, bool(partial.rows))
        with Progress(f"sampling from {server.model}", len(missing), "prompt") as progress, \
                closing(rows):
            for row in rows:
                partial.append(row)
                progress.advance()
    _say_missing(partial.rows, server.model)
    return partial.finish([prompt["id"] for prompt in prompts])


def connect_for(settings: SamplingSettings, server: ServerSettings) -> ChatServer:
    """The server, tested with these settings; one line says what it can.

    Raises ApiStoppedError where it does not sample as they say, or is not there.
    """
    try:
        fields = fields_of(settings, settings.seed, max(2, settings.samples))
        chat = connect(Transport(server), fields,
                       context=settings.max_prompt_tokens + settings.max_new_tokens)
    except (RequestRefusedError, NoReplyError) as error:
        raise ServerSamplingError(f"{server.model} at {server.base_url} does not answer a test "
                                  f"question: {error}") from error
    say(f"{server.model} at {server.base_url}: {chat.described()}")
    for name, (neutral, written) in OFF.items():
        value, how = getattr(settings, name), chat.lacks(name)
        if how and value != neutral and (settings.temperature or not name.startswith("top")):
            raise ApiStoppedError(
                f"{server.base_url} {how} {name}, and sampling.{name} is {value:g}; set it to "
                f"{written}, or use a server that takes it (vLLM, SGLang, llama.cpp, Ollama)")
    return chat


def fields_of(settings: SamplingSettings, seed: int, n: int) -> dict[str, Any]:
    """The sampling options of a request, neutral ones too, under every server's name for them."""
    return NEUTRAL | {
        "n": n, "seed": seed, "temperature": settings.temperature, "top_p": settings.top_p,
        "top_k": NEUTRAL["top_k"] if settings.top_k is None else settings.top_k,
        **dict.fromkeys(PENALTIES, settings.repetition_penalty),
        "max_tokens": settings.max_new_tokens, "logprobs": True, "return_token_ids": True}


def _rows(chat: ChatServer, prompts: Sequence[Prompt], settings: SamplingSettings,
          answered: bool) -> Generator[Row, None, None]:
    """Yield a row a prompt; those without an answer come once the server answered another.

    answered: it answered before. Raises ServerSamplingError, which names a prompt, where it answers
    none, or falls silent.
    """
    refused: list[Row] = []
    silent: dict[int, NoReplyError] = {}
    in_a_row, answers_now = 0, False
    with closing(chat.transport.map(lambda prompt: _row(chat, prompt, settings),
                                    prompts)) as results:
        for index, result in results:
            if isinstance(result, NoReplyError):
                silent[index] = result
            elif all(map(is_missing, result["candidates"])):
                refused.append(result)
            else:
                yield result
                in_a_row, answers_now = 0, True
                continue
            in_a_row += 1
            if in_a_row % SILENT == 0 and (
                    not (answers_now or answered) or silent and not chat.answers()):
                raise _nothing(prompts[index]["id"], result)
    if silent and not chat.answers():
        index, error = silent.popitem()
        raise _nothing(prompts[index]["id"], error)
    refused += [_whole_row(prompts[index], [missing_candidate(str(error))] * settings.samples)
                for index, error in silent.items()]
    if refused and not (answers_now or answered):
        raise _nothing(refused[0]["id"], refused[0])
    yield from refused


def _row(chat: ChatServer, prompt: Prompt, settings: SamplingSettings) -> Row | NoReplyError:
    """A prompt's row; another call fetches answers that a server did not give in the first."""
    candidates: list[Row] = []
    prompt_tokens = None
    while len(candidates) < settings.samples:
        fields = _fields(prompt, settings, len(candidates), chat.several)
        try:
            (more, prompt_tokens), _ = chat.post(messages_of(prompt), fields, candidates_of)
        except NoReplyError as error:
            return error
        except RequestRefusedError as error:
            more = [missing_candidate(str(error))] * settings.samples
        candidates += more[:settings.samples - len(candidates)]
    return _whole_row(prompt, candidates, prompt_tokens)


def _whole_row(prompt: Prompt, candidates: list[Row], prompt_tokens: int | None = None) -> Row:
    return {"id": prompt["id"], "prompt": prompt["prompt"], "source": prompt["source"],
            "prompt_tokens": prompt_tokens, "prompt_truncated": False, "candidates": candidates}


def _fields(prompt: Prompt, settings: SamplingSettings, have: int, several: bool) -> dict[str, Any]:
    digest = hashlib.sha256(
        f"{settings.seed}\n{settings.stream}\n{have}\n{prompt['id']}".encode()).digest()
    single = settings.temperature == 0 or not several  # vLLM wants n = 1 of greedy decoding
    return fields_of(settings, int.from_bytes(digest[:4], "big") >> 1,
                     1 if single else settings.samples - have)


def _nothing(prompt_id: str, result: Row | NoReplyError) -> ServerSamplingError:
    why = result if isinstance(result, NoReplyError) else result["candidates"][0]["reason"]
    remedy = "raise sampling.max_new_tokens, or turn its reasoning off" if why == ONLY_REASONING \
        else "run again once the server answers it, finished prompts are kept"
    return ServerSamplingError(f"no answers to prompt {prompt_id!r}: {why}; {remedy}")


def _say_missing(rows: Sequence[Row], model: str) -> None:
    """Say how many answers are missing, by their reasons."""
    candidates = [candidate for row in rows for candidate in row["candidates"]]
    reasons = Counter(each["reason"] for each in candidates if is_missing(each))
    if reasons:
        often = "; ".join(f"{count} times {reason}" for reason, count in reasons.most_common(3))
        say(f"{model}: {sum(reasons.values())} of {len(candidates)} answers are missing ({often}); "
            "comparisons skip them")
