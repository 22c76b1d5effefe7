"""NVIDIA's reward models behind an OpenAI-shaped API: hosted, or a NIM of one's own.

A conversation goes out as messages and one number comes back. The hosted trial allows about 40
calls a minute and the model may be retired any day, so: `estimate` before a run, `probe` first (it
raises EndpointGoneError where one should fall back), and a cache around it (`cache.cached`).
Rewards compare answers to the same prompt only (model card).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from urllib.parse import urlsplit

from lib.inference.api.rate_limit import TokenBucket
from lib.inference.api.transport import (
    ApiStoppedError,
    Endpoint,
    GaveUpError,
    ItemRefusedError,
    Transport,
)
from lib.inference.rewards import Conversation
from lib.inference.rewards.remote.replies import parse_reward
from lib.inference.rewards.verdicts import Verdict, scores_in_order
from lib.runtime.progress import Progress, say

HOSTED = "https://integrate.api.nvidia.com/v1"
PROBE = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]
CHARACTERS_A_TOKEN = 4  # English text in Llama 3's vocabulary; the server has the last word


@dataclass(frozen=True)
class ApiSettings:
    """How to reach the API; the key comes from the environment variable `key_variable`."""

    base_url: str = HOSTED
    model: str = "nvidia/llama-3.1-nemotron-70b-reward"
    key_variable: str = "NVIDIA_API_KEY"
    calls_per_minute: float = 40.0
    burst: int = 1  # calls that may start at once
    concurrency: int = 4  # calls under way at the same time
    timeout: float = 180.0  # seconds
    attempts: int = 6
    backoff: float = 1.0  # seconds before the second attempt, then doubling
    longest_wait: float = 600.0  # seconds; a Retry-After above it ends the run
    context: int = 4096  # tokens of prompt and answer together

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url is {self.base_url!r}; use an http or https address such as "
                             f"{HOSTED}")
        for name in ("concurrency", "attempts", "burst", "timeout", "calls_per_minute", "context"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use a number above 0")


@dataclass(frozen=True)
class Estimate:
    """What a run will ask of the API; tokens by character count, so about right."""

    calls: int
    minutes: float
    tokens: int

    def __str__(self) -> str:
        return (f"{self.calls} calls, about {self.minutes:.0f} min at the rate limit, "
                f"about {self.tokens} tokens")


class NemotronRewardModel:
    """Scores conversations through the API. count_tokens: a real tokenizer's, if there is one."""

    def __init__(self, settings: ApiSettings = ApiSettings(), name: str = "nemotron",
                 count_tokens: Callable[[str], int] | None = None) -> None:
        self.settings, self.name = settings, name
        self.count_tokens = count_tokens or (lambda text: len(text) // CHARACTERS_A_TOKEN)
        self.bucket = TokenBucket(settings.calls_per_minute, settings.burst)

    @property
    def identity(self) -> str:
        """What a cache keys scores on: the model, wherever it runs."""
        return f"api:{self.settings.model}"

    def estimate(self, conversations: Sequence[Conversation]) -> Estimate:
        """Calls, minutes and tokens for conversations that are not cached, without any call."""
        tokens = [self._tokens(conversation) for conversation in conversations]
        calls = sum(count <= self.settings.context for count in tokens)
        return Estimate(calls, calls / self.settings.calls_per_minute,
                        sum(count for count in tokens if count <= self.settings.context))

    def probe(self) -> float:
        """One call with a tiny conversation, before a run; its reward.

        Raises EndpointGoneError (fall back to another judge) or ApiStoppedError.
        """
        self._require_key()
        try:
            return self._transport().post(self._payload(PROBE), parse_reward)[0]
        except (GaveUpError, ItemRefusedError) as error:
            raise ApiStoppedError(f"the probe of {self.settings.model} failed: {error}; try later "
                                  "or use another judge") from None

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Rewards in order; None where one could not be had. Raises ApiStoppedError."""
        return scores_in_order(self.stream(conversations), len(conversations))

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index, verdict) as replies come, `concurrency` calls at a time.

        Raises ApiStoppedError when no call can succeed, after what was under way has been yielded.
        """
        if not conversations:
            return
        self._require_key()
        say(f"{self.name}: {self.estimate(conversations)}")
        transport = self._transport()
        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix=self.name)
        try:
            futures = {pool.submit(self._verdict, transport, conversation): index
                       for index, conversation in enumerate(conversations)}
            yield from self._counted(_as_they_come(futures, transport.stopped), len(futures))
        finally:
            transport.stopped.set()
            pool.shutdown(cancel_futures=True)

    def _counted(self, verdicts: Iterator[tuple[int, Verdict]],
                 total: int) -> Iterator[tuple[int, Verdict]]:
        """The same verdicts, with progress and the number of missing scores."""
        missing = 0
        with Progress(f"scoring with {self.name}", total, "answer") as progress:
            for index, verdict in verdicts:
                missing += verdict.score is None
                progress.advance(note=f"{missing} missing" if missing else "")
                yield index, verdict
        if missing:
            say(f"{self.name}: {missing} of {total} answers have no score; they are left out of "
                "every comparison")

    def _verdict(self, transport: Transport, conversation: Conversation) -> Verdict:
        if problem := self._problem(conversation):
            return Verdict(None, problem)
        try:
            reward, reply = transport.post(self._payload(conversation), parse_reward)
            return Verdict(reward, reply=reply)
        except ItemRefusedError as error:
            return Verdict(None, str(error))
        except GaveUpError as error:
            return Verdict(None, str(error), transient=True)

    def _problem(self, conversation: Conversation) -> str:
        """Why the API would refuse a conversation, or nothing."""
        roles = [message["role"] for message in conversation]
        if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
            return f"roles are {', '.join(roles) or 'none'}; the API wants user, assistant in turn"
        if not all(message["content"].strip() for message in conversation):
            return "a message is empty"
        if (tokens := self._tokens(conversation)) > self.settings.context:
            return f"about {tokens} tokens, and the API reads {self.settings.context}"
        return ""

    def _tokens(self, conversation: Conversation) -> int:
        return sum(self.count_tokens(message["content"]) for message in conversation)

    def _payload(self, conversation: Conversation) -> dict[str, object]:
        messages = [{"role": message["role"], "content": message["content"]}
                    for message in conversation]
        return {"model": self.settings.model, "messages": messages}

    def _require_key(self) -> None:
        variable = self.settings.key_variable
        key = os.environ.get(variable, "").strip()
        hosted = urlsplit(self.settings.base_url).hostname == urlsplit(HOSTED).hostname
        if hosted and not key:
            raise ApiStoppedError(f"{variable} is not set; export the API key under that name, or "
                                  "use the classifier or the embedded judge")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ApiStoppedError(f"{variable} holds characters that no API key has, such as line "
                                  "breaks; copy the key again")

    def _transport(self) -> Transport:
        given = self.settings
        endpoint = Endpoint(given.base_url.rstrip("/"), given.model, given.key_variable,
                            given.timeout, given.attempts, given.backoff, given.longest_wait)
        return Transport(endpoint, self.bucket, Event())


def _as_they_come(futures: dict[Future[Verdict], int],
                  stopped: Event) -> Iterator[tuple[int, Verdict]]:
    """Yield finished verdicts; after an ApiStoppedError start nothing new, and raise it at last."""
    stop = None
    for future in as_completed(futures):
        if future.cancelled():
            continue
        error = future.exception()
        if error is None:
            yield futures[future], future.result()
        elif stop is None:
            stop = error
            stopped.set()
            for waiting in futures:
                waiting.cancel()
    if stop is not None:
        raise stop
