"""A chat model that compares two answers, in both orders, behind a cache of its replies.

A question whose reply holds no verdict is asked once more; after that its verdict is missing, never
a tie. Every reply is kept word for word under its model and message, so that a judged run needs
neither key nor network, and a stopped one goes on where it stopped. What a server refuses (400,
413, 422) is kept as missing; a question without any reply is missing until the next run.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from lib.data.chat import Message
from lib.inference.api.capabilities import NEUTRAL, ChatServer, connect
from lib.inference.api.transport import (
    ApiStoppedError,
    NoReplyError,
    RequestRefusedError,
    Transport,
)
from lib.inference.judges.questions import Question, message_of
from lib.inference.judges.replies import (
    CHARACTERS_A_TOKEN,
    Verdict,
    read_reply,
    read_verdict,
)
from lib.inference.judges.settings import LLM, ChatJudgeSettings
from lib.inference.judges.styles import STYLES
from lib.inference.rewards.cache import ScoreCache
from lib.inference.rewards.score_results import ScoreResult
from lib.runtime.files import sha256_of_value
from lib.runtime.progress import Progress, duration, say

SILENT = 5  # questions in a row without any reply end the run
PROBE = Question("What is 1 + 1?", "2", "3")


@dataclass(frozen=True)
class Costs:
    """Calls, tokens and their price; `price` is 0 where the settings state none."""

    calls: int
    tokens_read: int
    tokens_written: int
    price: float

    def text(self) -> str:
        """`3,200 calls, 1,200,000 tokens read and 384,000 written, price 1.2300`."""
        price = f", price {self.price:,.4f}" if self.price else ""
        return (f"{self.calls:,} calls, {self.tokens_read:,} tokens read and "
                f"{self.tokens_written:,} written{price}")


@dataclass(frozen=True)
class Judgement:
    """The verdict on a question (None: missing, and why) and what its replies cost."""

    verdict: Verdict | None
    reason: str = ""
    calls: int = 0
    tokens_read: int = 0
    tokens_written: int = 0


class ChatJudge:
    """Compares answers through a server; `settings.model` names it."""

    def __init__(self, settings: ChatJudgeSettings, cache: ScoreCache) -> None:
        self.settings, self.cache = settings, cache
        self.style = STYLES[settings.style]
        self.tokens = settings.max_tokens or self.style.tokens
        self.fields = NEUTRAL | {"temperature": 0.0, "seed": 0, "max_tokens": self.tokens} | (
            {"logprobs": True, "top_logprobs": 5} if self.style.logprobs else {})

    @property
    def identity(self) -> str:
        """The model of its replies in the cache, on any server."""
        return f"chat:{self.settings.model}:{self.style.name}:{self.tokens}"

    def key(self, question: Question) -> str:
        """Hash of model, style and message: other texts, another order, another wording."""
        return sha256_of_value([self.identity, message_of(question, self.style)])

    def lacking(self, questions: Sequence[Question]) -> dict[str, Question]:
        """The questions that the cache has no reply to, each once, by their key."""
        return {key: question for key, question in
                {self.key(each): each for each in questions}.items() if not self.cache.get(key)}

    def estimate(self, questions: Sequence[Question]) -> Costs:
        """What asking these questions costs, by characters and the style's usual reply."""
        return costs(self.settings, len(questions), sum(map(self._tokens_of, questions)),
                     len(questions) * min(self.style.usual, self.tokens))

    def probe(self) -> None:
        """Ask one small question before a run; raises ApiStoppedError, one sentence, if in vain."""
        self._connect([PROBE], attempts=1, timeout=20.0)

    def judge(self, questions: Sequence[Question]) -> list[Judgement]:
        """A judgement of each question, in order; only those that the cache lacks are asked.

        Raises ApiStoppedError where no call can succeed or the server has fallen silent.
        """
        lacking = self.lacking(questions)
        silent = self._ask(lacking) if lacking else {}
        return [self._read(question, silent) for question in questions]

    def _ask(self, lacking: dict[str, Question]) -> dict[str, ScoreResult]:
        """Fetch and keep the replies; returns what got none."""
        say(f"{LLM} ({self.settings.model}, {self.style.name}): about "
            f"{self.estimate(list(lacking.values())).text()}{self._pace(len(lacking))}")
        keys, without, in_a_row = list(lacking), {}, 0
        server = self._connect(list(lacking.values()))
        calls = server.transport.map(lambda each: self._result(server, each),
                                     list(lacking.values()))
        with Progress(f"asking {self.settings.model}", len(keys), "comparison") as progress, \
                closing(calls):
            for index, result in calls:
                self.cache.put(keys[index], self.identity, result)
                in_a_row = in_a_row + 1 if result.transient else 0
                if result.transient:
                    without[keys[index]] = result
                if in_a_row == SILENT:
                    raise ApiStoppedError(
                        f"{self.settings.model} at {self.settings.base_url} gave no reply to "
                        f"{SILENT} questions in a row ({result.reason}); run again once it "
                        "answers, replies so far are kept")
                progress.advance()
        return without

    def _pace(self, calls: int) -> str:
        rate = self.settings.requests_per_minute
        return f", {duration(60 * calls / rate)} at {rate:g} a minute" if rate else ""

    def _connect(self, questions: Sequence[Question], **changes: Any) -> ChatServer:
        """The server with what it can do, by a small question; says where it cannot be greedy.

        changes: of the settings of the server. Raises ApiStoppedError where it does not answer.
        """
        settings = self.settings
        context = 2 * max(map(self._tokens_of, questions)) + self.tokens
        try:
            server = connect(self._transport(**changes), self.fields,
                             self._messages(PROBE), sampling=False, context=context)
        except (NoReplyError, RequestRefusedError) as error:
            raise ApiStoppedError(
                f"the judge {settings.model} at {settings.base_url} did not answer a test "
                f"question: {error}; start the server, or correct llm_judge.base_url and "
                "llm_judge.model") from None
        if server.lacks("temperature"):
            say(f"{settings.model} refuses a temperature; its verdicts are draws at its own")
        return server

    def _transport(self, **changes: Any) -> Transport:
        return Transport(replace(self.settings.server, **changes))

    def _result(self, server: ChatServer, question: Question) -> ScoreResult:
        """The replies to a question, the second only after a first without a verdict."""
        bodies: list[str] = []
        for reminder in (False, True):
            try:
                reply, body = server.post(self._messages(question, reminder), self.fields,
                                          read_reply)
            except RequestRefusedError as error:
                return ScoreResult(None, str(error), json.dumps(bodies))
            except NoReplyError as error:
                return ScoreResult(None, str(error), json.dumps(bodies), transient=True)
            bodies.append(body)
            if verdict := read_verdict(reply, self.style):
                return ScoreResult(verdict.preference, reply=json.dumps(bodies))
        return ScoreResult(None, reply.missing or f"no verdict in {reply.text[-80:]!r}",
                           json.dumps(bodies))

    def _messages(self, question: Question, reminder: bool = False) -> list[Message]:
        return [{"role": "user", "content": message_of(question, self.style, reminder)}]

    def _read(self, question: Question, silent: dict[str, ScoreResult]) -> Judgement:
        """A judgement from the replies that the cache has, read anew."""
        key = self.key(question)
        result = self.cache.get(key) or silent[key]
        replies = [read_reply(body) for body in json.loads(result.reply or "[]")]
        verdict = read_verdict(replies[-1], self.style) if replies and not result.reason else None
        read = [self._tokens_of(question) if reply.tokens_read is None else reply.tokens_read
                for reply in replies]
        return Judgement(verdict, result.reason, len(replies), sum(read),
                         sum(reply.tokens_written for reply in replies))

    def _tokens_of(self, question: Question) -> int:
        return len(message_of(question, self.style)) // CHARACTERS_A_TOKEN


def costs(settings: ChatJudgeSettings, calls: int, tokens_read: int, tokens_written: int) -> Costs:
    """Calls and tokens with their price by the settings."""
    price = tokens_read * settings.input_price + tokens_written * settings.output_price
    return Costs(calls, tokens_read, tokens_written, price / 1e6)
