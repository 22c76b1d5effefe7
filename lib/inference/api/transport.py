"""Concurrent calls to an OpenAI-shaped API under one rate limit, with retries.

A transient failure (a busy server, a cut connection, an unreadable reply) is retried after the wait
that the server names or a growing, random one; a request that the server refuses, or a text that it
filters, is an error of that request; a wrong key, address or model ends the run with a sentence
that says what to do. An error object in a reply of status 200 counts as the status that it names.
Tenacity retries, because urllib3's retries inside a session would bypass the rate limit and would
not retry a body that is cut short or unreadable.

Each call reads the API key from the environment. No object keeps it, and it is removed from
replies and errors.
"""

import json
import math
import os
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import Any, TypeVar

import requests
from pydantic import PositiveFloat, PositiveInt
from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from lib.inference.api.address import Url, is_local
from lib.inference.api.rate_limit import RateLimit
from lib.inference.api.time_limit import LimitedAdapter
from lib.runtime.settings import checked

TRANSIENT = {408, 409, 425, 429}  # and every status from 500 on
REFUSED = {400, 413, 422, 451}
FILTERED = re.compile(r"content.?(filter|policy|management)|moderation|flagged", re.IGNORECASE)
INVALID = re.compile(r"invalid_request|BadRequest|context_length", re.IGNORECASE)
GONE = {404, 410}
ADVICE = {
    401: "the API key is missing or not valid; put a valid one into {key_variable}",
    402: "the account has no credits left; add some, or use another model",
    403: "this key may not use {model}; ask for access, or use another model",
    404: "{model} is not deployed at {base_url} for this account; check the base URL and the name",
    410: "{model} has reached its end of life at {base_url}; use another model",
}
OTHER_STATUS = "this is no answer of an OpenAI-compatible API; check the base URL {base_url}"
SHOWN = 200  # characters of a server's message in ours
SHORTEST_SECRET = 8  # characters of a key; local servers take any word for one
LARGEST = 2**28  # bytes of a reply; far more than any number of answers with their tokens
UNREADABLE = (requests.RequestException, HTTPError, ValueError, RecursionError)
CONNECTED = 20.0  # seconds at most until a server takes a connection
Item = TypeVar("Item")
Result = TypeVar("Result")


class ApiStoppedError(RuntimeError):
    """No call can succeed before a person does what the message says."""


class EndpointGoneError(ApiStoppedError):
    """404 or 410: the server does not, or no longer, serve this model."""


class RequestRefusedError(ValueError):
    """The server cannot process this request, now or later."""


class NoReplyError(RuntimeError):
    """Every attempt failed, or the run was stopped before one succeeded."""


@checked
class ServerSettings:
    """How to reach a model."""

    model: str  # its name on the server
    base_url: Url = "http://localhost:8000/v1"
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key, if any
    calls_per_minute: PositiveFloat = 60_000.0
    concurrency: PositiveInt = 8  # calls in flight
    timeout: PositiveFloat = 600.0  # seconds for a whole reply
    attempts: PositiveInt = 6
    backoff: float = 1.0  # most seconds before the second attempt; random, and doubles each time
    longest_wait: float = 600.0  # seconds; a Retry-After above it ends the run

    @property
    def key(self) -> str:
        """The API key in the environment or ""; raises ApiStoppedError for unusable characters."""
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ApiStoppedError(f"{self.key_variable} holds characters that no API key has, such "
                                  "as line breaks; copy the key again")
        return key

    def without_key(self, text: str) -> str:
        """The text without the API key, which servers and proxies echo in their errors.

        A key too short to be a secret stays: `EMPTY` or `token` may be a word of the reply.
        """
        return text.replace(self.key, "[API key]") if len(self.key) >= SHORTEST_SECRET else text


class Transport:
    """Posts JSON to a server's chat completions; for threads, and for one `map`."""

    def __init__(self, settings: ServerSettings, limit: RateLimit | None = None) -> None:
        self.settings = settings
        self.limit = limit or RateLimit(settings.calls_per_minute)
        self.stopped = Event()
        self.session = requests.Session()
        self.session.auth = self._add_key
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, LimitedAdapter(pool_maxsize=settings.concurrency))
        if is_local(settings.base_url):  # no proxy reaches this machine's own servers
            self.session.trust_env = False
            self.session.verify = (os.environ.get("REQUESTS_CA_BUNDLE")
                                   or os.environ.get("CURL_CA_BUNDLE") or True)

    def _add_key(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.settings.key:
            request.headers["Authorization"] = f"Bearer {self.settings.key}"
        return request

    def map(self, call: Callable[[Item], Result],
            items: Sequence[Item]) -> Generator[tuple[int, Result], None, None]:
        """Yield (index, call(item)) as calls end, `concurrency` at a time.

        After the first error no call starts; the error is raised after the calls in flight.
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

    def get(self, address: str, timeout: float = 5.0) -> Any:
        """The JSON at an address of the server; None where it has none, for whatever reason."""
        try:
            with self.session.get(address, timeout=timeout, allow_redirects=False,
                                  stream=True) as reply:
                return json.loads(_content(reply)) if reply.status_code == 200 else None
        except UNREADABLE:
            return None

    def post(self, payload: dict[str, Any], parse: Callable[[str], Result],
             address: str | None = None) -> tuple[Result, str]:
        """What `parse` reads from the reply (or ValueError: unreadable), and the reply's text.

        address: another one than the chat completions'. Raises RequestRefusedError, NoReplyError or
        ApiStoppedError.
        """
        settings = self.settings
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, str)),
            stop=stop_after_attempt(settings.attempts) | stop_when_event_set(self.stopped),
            wait=wait_random_exponential(settings.backoff, min=settings.backoff / 2),
            sleep=sleep_using_event(self.stopped),
            retry_error_callback=lambda state: state.outcome and state.outcome.result())
        address = address or f"{settings.base_url.rstrip('/')}/chat/completions"
        outcome = retrying(self._attempt, payload, parse, address)
        if isinstance(outcome, str):
            raise NoReplyError(f"no usable reply after {retrying.statistics['attempt_number']} "
                               f"attempts, the last one: {outcome}")
        return outcome

    def _attempt(self, payload: dict[str, Any], parse: Callable[[str], Result],
                 address: str) -> tuple[Result, str] | str:
        """What `parse` read and the reply's text, or why another attempt may succeed."""
        settings = self.settings
        if not self.limit.wait(self.stopped):
            return "the run was stopped"
        try:
            with self.session.post(address, json=payload, allow_redirects=False, stream=True,
                                   timeout=(min(CONNECTED, settings.timeout), settings.timeout)
                                   ) as reply:
                content = _content(reply)
            body = settings.without_key(str(content, "utf-8", "replace"))
            status = meant_status(reply.status_code, body)
            if status // 100 == 2:
                return parse(body), body
        except UNREADABLE as error:
            return settings.without_key(f"{type(error).__name__}: {error}")[:SHOWN]
        return self._failure(status, body, retry_after(reply))

    def _failure(self, status: int, body: str, wait: float) -> str:
        """Why another attempt may succeed; raises where none can."""
        settings, told = self.settings, " ".join(body.split())[:SHOWN]
        if status in REFUSED or (status == 403 and FILTERED.search(body)):
            raise RequestRefusedError(f"the server refused it with {status}: {told}")
        if status not in TRANSIENT and status < 500:
            advice = ADVICE.get(status, OTHER_STATUS).format(**vars(settings))
            kind = EndpointGoneError if status in GONE else ApiStoppedError
            raise kind(f"the API answered {status}: {advice}")
        if wait > settings.longest_wait:
            raise ApiStoppedError(f"the API answered {status} and asks to wait {wait:.0f} s; run "
                                  "again after that, finished answers are kept")
        self.limit.pause(wait)
        return f"status {status}" + (f": {told}" if told else "")


def _content(reply: requests.Response) -> bytes:
    """A reply's bytes, decompressed; raises ValueError for more than anyone needs."""
    content = bytearray()
    while part := reply.raw.read1(2**16, decode_content=True):  # what is there, waiting for no more
        content += part
        if len(content) > LARGEST:
            raise ValueError(f"a reply of more than {LARGEST:,} bytes")
    return bytes(content)


def meant_status(status: int, body: str) -> int:
    """A reply's status; of an error object in a reply of status 200, the one that it names."""
    try:
        reply = json.loads(body) if status // 100 == 2 else None
    except (ValueError, RecursionError):
        return status
    if not isinstance(reply, dict) or reply.get("choices"):
        return status
    error = reply if reply.get("object") == "error" else reply.get("error")
    if not error:
        return status
    code = str(error.get("code")) if isinstance(error, dict) else ""
    if code.isdigit() and 400 <= int(code) < 600:
        return int(code)
    return 400 if FILTERED.search(str(error)) or INVALID.search(str(error)) else 500


def retry_after(reply: requests.Response) -> float:
    """Seconds to wait by a reply's Retry-After (seconds or a date); 0 if absent or unclear."""
    try:
        header = reply.headers.get("Retry-After", "0")
        any_wait = Retry(retry_after_max=math.inf)  # type: ignore[arg-type]  # no whole number
        return float(any_wait.parse_retry_after(header))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
