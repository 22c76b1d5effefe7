"""What a server takes and gives, found out by a few small requests before the work.

Servers of one shape differ: some refuse `n` or fields that OpenAI does not have, some ignore them
silently, each has its own names and its own defaults. Every sampling value that we mean is sent
under each name that the server takes, neutral ones too, because its defaults may not be neutral.
What it ignores shows in its answers: at temperature 2, one candidate token (top_k 1, min_p 1) must
give the greedy answer, and a repetition penalty of 2 another one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lib.data.chat import Message
from lib.inference.api import ollama
from lib.inference.api.replies import answer_of, choices_of
from lib.inference.api.transport import (
    ApiStoppedError,
    NoReplyError,
    RequestRefusedError,
    ServerSettings,
    Transport,
)
from lib.runtime.files import Row

QUESTION: list[Message] = [{"role": "user", "content": (
    "Write the word yes ten times, then begin a strange story.")}]
TOKENS = 24  # of an answer to the question
CATALOGUE = 20  # a server that lists more models than these has names beside its list
PENALTIES = ("repetition_penalty", "repeat_penalty")  # vLLM and SGLang; llama.cpp and LM Studio
NEUTRAL = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, **dict.fromkeys(PENALTIES, 1.0),
           "repeat_last_n": -1, "presence_penalty": 0.0, "frequency_penalty": 0.0}
TOGETHER = {"top_logprobs": ("logprobs", "top_logprobs"), "logprobs": ("logprobs", "top_logprobs")}
Result = TypeVar("Result")


@dataclass(frozen=True)
class ChatServer:
    """A server as it was found: asks it for completions with the fields that it takes.

    refused: fields that it refuses. ignored: sampling options without an effect on its answers.
    several: gives n answers a request. logprobs, token_ids: whether it gives them. limit: its name
    for the most new tokens. context: tokens of prompt and answer, for a server that wants to know.
    """

    transport: Transport
    native: bool = False
    refused: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    several: bool = False
    logprobs: bool = False
    token_ids: bool = False
    limit: str = "max_tokens"
    context: int = 4096

    def post(self, messages: list[Message], fields: Mapping[str, Any],
             parse: Callable[[str], Result]) -> tuple[Result, str]:
        """What `parse` reads from the completion, and its text; raises as `Transport.post` does."""
        settings = self.transport.settings
        payload = {"model": settings.model, "messages": messages}
        payload |= {self.limit if name == "max_tokens" else name: value
                    for name, value in fields.items() if name not in self.refused}
        if not self.native:
            return self.transport.post(payload, parse)

        def read(body: str) -> tuple[Result, str]:
            """The same from Ollama's own form of a reply."""
            completion = ollama.completion_of(body)
            return parse(completion), completion
        return self.transport.post(ollama.request_of(payload, self.context), read,
                                   ollama.root_of(settings.base_url) + "/api/chat")[0]

    def answers(self) -> bool:
        """Whether it still answers the test question, on a transport that is not stopped."""
        again = Transport(self.transport.settings, self.transport.limit)
        try:
            replace(self, transport=again).post(QUESTION, {"max_tokens": TOKENS}, choices_of)
        except (RequestRefusedError, NoReplyError):
            return False
        return True

    def lacks(self, name: str) -> str:
        """How the server fails an option, `refuses` or `ignores`; empty where it takes it."""
        names = PENALTIES if name in PENALTIES else (name,)
        if all(each in self.refused for each in names):
            return "refuses"
        return "ignores" if name in self.ignored else ""

    def described(self) -> str:
        """`takes n, top_k, min_p and repetition_penalty; gives log-probabilities`."""
        options = ["seed", "top_k", "min_p", PENALTIES[0]]
        takes = ["n"] * self.several + [name for name in options if not self.lacks(name)]
        gives = ["log-probabilities"] * self.logprobs + ["token ids"] * self.token_ids
        lacking = [f"{self.lacks(name)} {name}, where its own default counts"
                   for name in options if self.lacks(name)]
        return "; ".join(filter(None, [
            "Ollama's own interface" * self.native, f"takes {', '.join(takes) or 'no option'}",
            f"gives {' and '.join(gives) or 'texts only'}", ", ".join(lacking),
            "" if self.several else "one answer a request"]))


def connect(transport: Transport, wanted: Mapping[str, Any], question: list[Message] = QUESTION,
            sampling: bool = True, context: int = 4096) -> ChatServer:
    """The server with what it can do of `wanted`, the fields of a request.

    context: the most tokens of prompt and answer. sampling: also see which options change its
    answers. Raises ApiStoppedError for a server that does not serve the model, RequestRefusedError
    for one that refuses a plain request, and NoReplyError for one that gives no reply.
    """
    listed, native = models_of(transport)
    check_served(transport.settings, listed)
    server = _with_limit(ChatServer(transport, native, context=context), question)
    quick = replace(server, transport=Transport(
        replace(transport.settings, attempts=min(2, transport.settings.attempts)), transport.limit))
    quick, choices = _accepted(quick, dict(wanted), question)
    server = replace(
        server, refused=quick.refused, several=len(choices) > 1 and "n" not in quick.refused,
        logprobs=any(_has_logprobs(choice) for choice in choices),
        token_ids=any(isinstance(choice.get("token_ids"), list) for choice in choices))
    return _tested(server, quick) if sampling else server


def check_served(settings: ServerSettings, listed: tuple[str, ...]) -> None:
    """Raise ApiStoppedError where a short list of models lacks this one.

    llama.cpp and SGLang answer under any name, so that one policy's answers would pass for
    another's. A tag (`:latest`) and a path before the name do not count.
    """
    if not 0 < len(listed) <= CATALOGUE or any(
            _bare(name) == _bare(settings.model) for name in listed):
        return
    raise ApiStoppedError(
        f"{settings.base_url} serves {', '.join(listed)} and not {settings.model}; serve the model "
        "under this name (llama.cpp: --alias, vLLM and SGLang: --served-model-name, Ollama: "
        "ollama cp), or name the one that is there")


def _bare(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].partition(":")[0].lower()


def models_of(transport: Transport) -> tuple[tuple[str, ...], bool]:
    """The names of the server's models, none where it does not list them; whether it is Ollama."""
    address = transport.settings.base_url.rstrip("/")
    reply = transport.get(f"{address}/models")
    models = reply.get("data") if isinstance(reply, dict) else None
    models = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    names = tuple(str(name) for one in models for name in (one.get("id"), *_aliases(one)) if name)
    version = transport.get(ollama.root_of(address) + "/api/version") if names else None
    return tuple(dict.fromkeys(names)), isinstance(version, dict) and "version" in version


def _aliases(model: Row) -> list[str]:
    aliases = model.get("aliases")
    return aliases if isinstance(aliases, list) else []


def _with_limit(server: ChatServer, question: list[Message]) -> ChatServer:
    """The server with its name for the most new tokens, by a plain request that must succeed."""
    try:
        server.post(question, {"max_tokens": TOKENS}, choices_of)
    except RequestRefusedError as error:
        if "max_completion_tokens" not in str(error):
            raise
        server = replace(server, limit="max_completion_tokens")
        server.post(question, {"max_tokens": TOKENS}, choices_of)
    return server


def _accepted(server: ChatServer, fields: dict[str, Any],
              question: list[Message]) -> tuple[ChatServer, list[Row]]:
    """The server without the fields that it refuses, and its choices with all others.

    All are tried at once; after a refusal one after the other, the temperature first, because some
    servers refuse only combinations.
    """
    kept: dict[str, Any] = {"max_tokens": TOKENS}
    try:
        return server, server.post(question, fields | kept, choices_of)[0][0]
    except (RequestRefusedError, NoReplyError):
        choices = server.post(question, kept, choices_of)[0][0]
    refused: set[str] = set()
    for name in sorted(fields.keys() - kept.keys(), key=lambda name: (name != "temperature", name)):
        group = [each for each in TOGETHER.get(name, (name,)) if each in fields]
        if name in refused or name in kept:
            continue
        tried = kept | {each: fields[each] for each in group}
        try:
            choices = server.post(question, tried, choices_of)[0][0]
            kept = tried
        except (RequestRefusedError, NoReplyError):
            refused |= set(group)
    return replace(server, refused=frozenset(refused)), choices


def _has_logprobs(choice: Row) -> bool:
    logprobs = choice.get("logprobs")
    return isinstance(logprobs, dict) and bool(logprobs.get("content"))


def _tested(server: ChatServer, quick: ChatServer) -> ChatServer:
    """The server with what it ignores; as it is where its greedy answers differ or are missing."""
    def texts(seed: int, **changes: float) -> list[str]:
        """The answers' texts; an empty one where there is none."""
        try:
            fields = NEUTRAL | {"seed": seed, "max_tokens": TOKENS} | changes
            return [answer_of(choice).text
                    for choice in quick.post(QUESTION, fields, choices_of)[0][0]]
        except (RequestRefusedError, NoReplyError, ValueError):
            return [""]

    def ask(seed: int, **changes: float) -> str:
        return texts(seed, **changes)[0]
    greedy, again = ask(1, temperature=0.0), ask(2, temperature=0.0)
    hot, other = ask(3, temperature=2.0), ask(4, temperature=2.0)
    if not greedy or greedy != again or greedy in (hot, other):
        return server
    one = [ask(seed, temperature=2.0, top_k=1) for seed in (5, 6)]
    found = {"top_k": not (one[0] == one[1] or greedy in one),
             "min_p": ask(7, temperature=2.0, min_p=1.0) != greedy,
             PENALTIES[0]: ask(8, temperature=0.0, **dict.fromkeys(PENALTIES, 2.0)) == greedy,
             "seed": ask(3, temperature=2.0) != hot}
    several = server.several and (hot == other or len(set(texts(9, temperature=2.0, n=2))) > 1)
    return replace(server, several=several,
                   ignored=frozenset(name for name, ignored in found.items() if ignored))
