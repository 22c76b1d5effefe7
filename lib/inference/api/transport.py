"""Calls to an OpenAI-shaped API, many at once, under one rate limit, repeated while that may help.

A passing failure (a busy server, a cut connection, a reply that cannot be read) is retried after
the wait that the server names or a growing, random one; a refused request is an error of its own;
a wrong key, address or model ends the run with a sentence that says what to do. Tenacity repeats
the attempts: urllib3's own retries inside a session would pass by the rate limit and would count
neither a body that was cut short nor one that cannot be read.

The API key is read from the environment when a call leaves, is kept in no object of ours, and is
removed from whatever comes back.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from lib.inference.api.rate_limit import RateLimit

TRANSIENT = {408, 409, 425, 429}  # and every status from 500 on
REFUSED = {400, 413, 422}
GONE = {404, 410}
ADVICE = {
    401: "the API key is missing or not valid; put a valid one into {key_variable}",
    402: "the account has no credits left; add some, or use another model",
    403: "this key may not use {model}; ask for access, or use another model",
    404: "{model} is not deployed at {base_url} for this account; check the base URL and the name",
    410: "{model} has reached its end of life at {base_url}; use another model",
}
OTHER_STATUS = "no OpenAI-compatible API answers so; check the base URL {base_url}"
SHOWN = 200  # characters of a server's words in a message
Item = TypeVar("Item")
Result = TypeVar("Result")


class ApiStoppedError(RuntimeError):
    """No call can succeed until a person has done what the sentence says."""


class EndpointGoneError(ApiStoppedError):
    """404 or 410: this model is not (or no longer) served here."""


class RequestRefusedError(ValueError):
    """The server cannot process this request; repeating it would not help."""


class NoReplyError(RuntimeError):
    """Every attempt failed, or the run was stopped before one succeeded."""


@dataclass(frozen=True)
class ServerSettings:
    """How to reach a model; raises ValueError for a value that cannot be used."""

    model: str  # the name under which the server knows it
    base_url: str = "http://localhost:8000/v1"
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key, if any
    calls_per_minute: float = 60_000.0
    concurrency: int = 8  # calls in flight
    timeout: float = 600.0  # seconds without a byte
    attempts: int = 6
    backoff: float = 1.0  # most seconds before the second attempt; random, and doubles each time
    longest_wait: float = 600.0  # seconds; a Retry-After above it ends the run

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url is {self.base_url!r}; use an http or https address such as "
                             "http://localhost:8000/v1")
        for name in ("calls_per_minute", "concurrency", "timeout", "attempts"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use a number above 0")

    @property
    def key(self) -> str:
        """The API key in the environment, empty if none; raises ApiStoppedError for other text."""
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ApiStoppedError(f"{self.key_variable} holds characters that no API key has, such "
                                  "as line breaks; copy the key again")
        return key

    def without_key(self, text: str) -> str:
        """The text with the API key removed: servers and proxies echo headers in their errors."""
        return text.replace(self.key, "[API key]") if self.key else text


class Transport:
    """Posts JSON to a server's chat completions; safe for threads, and spent once stopped."""

    def __init__(self, settings: ServerSettings, limit: RateLimit | None = None) -> None:
        self.settings = settings
        self.limit = limit or RateLimit(settings.calls_per_minute)
        self.stopped = Event()
        self.session = requests.Session()
        self.session.auth = self._add_key
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, requests.adapters.HTTPAdapter(
                pool_maxsize=settings.concurrency))

    def _add_key(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.settings.key:
            request.headers["Authorization"] = f"Bearer {self.settings.key}"
        return request

    def map(self, call: Callable[[Item], Result],
            items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield (index, call(item)) as calls end, `concurrency` at a time.

        After the first error no call starts; it is raised when those in flight have been yielded.
        """
        pool, failure = ThreadPoolExecutor(self.settings.concurrency), None
        try:
            futures = {pool.submit(call, item): index for index, item in enumerate(items)}
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                if (error := future.exception()) is None:
                    yield futures[future], future.result()
                elif failure is None:
                    failure = error
                    self.stopped.set()
                    for waiting in futures:
                        waiting.cancel()
        finally:
            self.stopped.set()
            pool.shutdown(cancel_futures=True)
        if failure is not None:
            raise failure

    def post(self, payload: dict[str, Any],
             parse: Callable[[str], Result]) -> tuple[Result, str]:
        """What `parse` reads from the reply, and the reply's text.

        parse raises ValueError for a reply that it cannot read. Raises RequestRefusedError,
        NoReplyError or ApiStoppedError.
        """
        settings = self.settings
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, str)),
            stop=stop_after_attempt(settings.attempts) | stop_when_event_set(self.stopped),
            wait=wait_random_exponential(settings.backoff, min=settings.backoff / 2),
            sleep=sleep_using_event(self.stopped),
            retry_error_callback=lambda state: state.outcome.result())
        outcome = retrying(self._attempt, payload, parse)
        if isinstance(outcome, str):
            raise NoReplyError(f"no usable reply after {retrying.statistics['attempt_number']} "
                               f"attempts, the last one: {outcome}")
        return outcome

    def _attempt(self, payload: dict[str, Any],
                 parse: Callable[[str], Result]) -> tuple[Result, str] | str:
        """What was parsed and the reply's text, or why another attempt may succeed."""
        settings = self.settings
        if not self.limit.wait(self.stopped):
            return "the run was stopped"
        try:
            reply = self.session.post(f"{settings.base_url.rstrip('/')}/chat/completions",
                                      json=payload, timeout=settings.timeout,
                                      allow_redirects=False)
            body = settings.without_key(str(reply.content, "utf-8", "replace"))
            if reply.status_code // 100 == 2:
                return parse(body), body
        except (requests.RequestException, ValueError, RecursionError) as error:
            return settings.without_key(f"{type(error).__name__}: {error}")[:SHOWN]
        return self._failure(reply, body)

    def _failure(self, reply: requests.Response, body: str) -> str:
        """Why another attempt may succeed; raises where none can."""
        settings, status = self.settings, reply.status_code
        if status in REFUSED:
            raise RequestRefusedError(f"the server refused it with {status}: {body[:SHOWN]}")
        if status not in TRANSIENT and status < 500:
            advice = ADVICE.get(status, OTHER_STATUS).format(**vars(settings))
            kind = EndpointGoneError if status in GONE else ApiStoppedError
            raise kind(f"the API answered {status}: {advice}")
        wait = retry_after(reply)
        if wait > settings.longest_wait:
            raise ApiStoppedError(f"the API answered {status} and asks to wait {wait:.0f} s; run "
                                  "again after that, what is finished is kept")
        self.limit.pause(wait)
        return f"status {status}"


def retry_after(reply: requests.Response) -> float:
    """Seconds to wait by a reply's Retry-After (seconds or a date); 0 if absent or unclear."""
    try:
        header = reply.headers.get("Retry-After", "0")
        return float(Retry(retry_after_max=math.inf).parse_retry_after(header))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
