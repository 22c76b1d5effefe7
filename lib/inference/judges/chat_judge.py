"""A chat model that compares two answers, in both orders, behind a cache of its replies.

A question whose reply holds no verdict is asked once more; after that its verdict is missing, never
a tie. Every reply is kept word for word under its model and message, so that a judged run needs
neither key nor network, and a stopped one goes on where it stopped. What a server refuses (400,
413, 422) is kept as missing; a question without any reply is missing until the next run. A judge
that never gives a verdict is told before the run by a test question, or else after a few real ones,
whose replies are not kept.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from time import monotonic
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

SILENT = 5  # questions in a row without any reply: does the server still answer a test question?
MUTE = 16  # the first questions, all without a verdict, end it too
PROBE = Question("What is 1 + 1?", "2", "3")
PATIENCE = 20.0  # seconds for a reply of a few tokens to a test question
SLOW = 40.0  # and for one with a verdict; a reply that takes longer is no fault


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

    def probe(self, longest: Question = PROBE) -> None:
        """Ask a small question in both orders, as the run will, until a reply holds a verdict.

        longest: as long as those of the run get; that the server refuses it is said. Raises
        ApiStoppedError, one sentence, where the run would get no verdict.
        """
        server = self._connect([PROBE, longest], attempts=1, timeout=PATIENCE)
        self._try_length(server, longest)
        server = replace(server, transport=self._transport(attempts=1, timeout=SLOW))
        for question in (PROBE, PROBE._replace(first=PROBE.second, second=PROBE.first)):
            started = monotonic()
            result = self._result(server, question)
            if result.score is not None:
                return
            if result.transient and monotonic() - started >= SLOW:
                say(f"{self.settings.model} wrote no whole reply within {SLOW:.0f} s; the run "
                    "starts without having seen a verdict")
                return
        raise ApiStoppedError(self._without_verdict("a test question in both orders", result))

    def _without_verdict(self, asked: str, result: ScoreResult) -> str:
        """Why a run would be in vain, with the last reason."""
        return (f"the judge {self.settings.model} at {self.settings.base_url} gave no verdict on "
                f"{asked} ({result.reason}); use a model that replies as "
                f"llm_judge.style={self.style.name} asks, another style, or llm_judge.max_tokens "
                f"above {self.tokens}")

    def _try_length(self, server: ChatServer, longest: Question) -> None:
        """Say that the server refuses a question as long as the longest ones of the run."""
        try:
            server.post(self._messages(longest), self.fields | {"max_tokens": 1}, read_reply)
        except RequestRefusedError as error:
            say(f"{self.settings.model} refuses a question of about {self._tokens_of(longest):,} "
                f"tokens, as long as those of this run may get, and has no verdict on such: "
                f"{error}")
        except NoReplyError:  # slow; the run waits longer
            pass

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
        fresh, mute = [], not self.cache.count(self.identity)  # until there is a verdict
        server = self._connect(list(lacking.values()))
        calls = server.transport.map(lambda each: self._result(server, each),
                                     list(lacking.values()))
        with Progress(f"asking {self.settings.model}", len(keys), "comparison") as progress, \
                closing(calls):
            for index, result in calls:
                fresh.append((keys[index], result))
                mute = mute and result.score is None
                if not mute:
                    self._keep(fresh)
                elif len(fresh) == MUTE:
                    raise ApiStoppedError(self._without_verdict(
                        f"any of the first {MUTE} questions", result))
                in_a_row = in_a_row + 1 if result.transient else 0
                if result.transient:
                    without[keys[index]] = result
                if in_a_row and in_a_row % SILENT == 0 and not server.answers():
                    raise ApiStoppedError(
                        f"{self.settings.model} at {self.settings.base_url} gave no reply to "
                        f"{in_a_row} questions in a row ({result.reason}); run again once it "
                        "answers, replies so far are kept")
                progress.advance()
        self._keep(fresh)
        return without

    def _keep(self, replies: list[tuple[str, ScoreResult]]) -> None:
        """Put replies under their keys into the cache, and empty the list."""
        for key, result in replies:
            self.cache.put(key, self.identity, result)
        replies.clear()

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
