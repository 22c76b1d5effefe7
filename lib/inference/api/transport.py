"""One POST to an OpenAI-shaped API, asked again while that may help, under one rate limit.

Status codes follow one table: what another call may mend is asked again after the wait that the
server names or a growing, random one; what is wrong with this item ends this item; what is wrong
with the key, the credits or the address ends the whole run, in one sentence that says what to do.
The API key is read from the environment when a call leaves, is kept in no object of ours, and is
cut out of whatever comes back. Scores and answers are both asked for here; an endpoint's `purpose`
says in messages which of them it is.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event, local
from typing import Any, TypeVar

import requests
from requests.auth import AuthBase

from lib.inference.api.rate_limit import TokenBucket

ASK_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
ITEM_IS_WRONG = {400, 413, 422}
RUN_IS_OVER = {
    401: "the API key is missing or not valid; put a valid one into {variable}",
    402: "the account has no credits left; add some, or {instead}",
    403: "this key may not use {model}; ask for access, or {instead}",
    404: "{model} is not deployed at {url} for this account; check the base URL, or {instead}",
    410: "{model} has reached its end of life at {url}; {instead}",
}
OTHER_STATUS = "this is no reply of {service}; check the base URL {url}"
GONE = {404, 410}
Parsed = TypeVar("Parsed")


class ApiStoppedError(RuntimeError):
    """No call can succeed until a person has done what the sentence says."""


class EndpointGoneError(ApiStoppedError):
    """404 or 410: this model is not (or no longer) served here; fall back to another one."""


class ItemRefusedError(ValueError):
    """The server says that this item is wrong; asking again would not help."""


class GaveUpError(RuntimeError):
    """Every attempt failed for a passing reason."""


@dataclass(frozen=True)
class Purpose:
    """What calls are made for, in the words of a message; `instead` may name {model}."""

    wanted: str  # "no ... after 6 attempts"
    service: str  # what should have answered
    kept: str  # what a stopped run has saved
    instead: str  # what to do when this model cannot be had here


SCORES = Purpose("score", "a scoring API", "what is scored is in the cache",
                 "fall back to the classifier or the embedded judge")
ANSWERS = Purpose("answer", "an OpenAI-compatible chat API",
                  "finished prompts are kept and not asked for again",
                  "start a server that serves it under the name {model}")


@dataclass(frozen=True)
class Endpoint:
    """Where calls go and how patiently they are made."""

    url: str
    model: str
    key_variable: str
    timeout: float  # seconds without a byte
    attempts: int
    backoff: float  # seconds before the second attempt; doubles each time, with jitter
    longest_wait: float  # seconds; a server that asks for more ends the run
    purpose: Purpose = SCORES

    def advice(self, status: int) -> str:
        """What a person should do about a status that ends the run."""
        names = {"variable": self.key_variable, "model": self.model, "url": self.url,
                 "service": self.purpose.service,
                 "instead": self.purpose.instead.format(model=self.model)}
        return RUN_IS_OVER.get(status, OTHER_STATUS).format(**names)


class _KeyFromEnvironment(AuthBase):
    """Adds the bearer token as the request leaves; holds only the variable's name."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if os.environ.get(self.variable):
            request.headers["Authorization"] = f"Bearer {os.environ[self.variable].strip()}"
        return request


@dataclass
class Transport:
    """Posts JSON to an endpoint; safe for threads, one HTTP session a thread."""

    endpoint: Endpoint
    bucket: TokenBucket
    stopped: Event = field(default_factory=Event)
    sessions: local = field(default_factory=local, repr=False)

    def post(self, payload: dict[str, Any],
             parse: Callable[[str], Parsed]) -> tuple[Parsed, str]:
        """What `parse` reads from the reply, and the reply's text.

        Raises ItemRefusedError, GaveUpError (attempts used up, or the run was stopped) or
        ApiStoppedError. `parse` raises ValueError for a reply that it cannot read.
        """
        reason = "the run was stopped"
        for attempt in range(self.endpoint.attempts):
            if not self.bucket.take(self.stopped):
                break
            try:
                reply = self._call(payload)
                if reply.ok and not reply.is_redirect:
                    body = without_key(reply.text, self.endpoint.key_variable)
                    return parse(body), body
                reason = self._judge_status(reply)
            except ItemRefusedError:
                raise
            except (requests.RequestException, ValueError) as error:
                reason = without_key(f"{type(error).__name__}: {error}"[:200],
                                     self.endpoint.key_variable)
            pause = self.endpoint.backoff * 2**attempt * random.uniform(0.5, 1.0)
            if attempt + 1 < self.endpoint.attempts and self.stopped.wait(pause):
                break
        raise GaveUpError(f"no {self.endpoint.purpose.wanted} after {attempt + 1} attempts, the "
                          f"last one: {reason}")

    def _call(self, payload: dict[str, Any]) -> requests.Response:
        if not hasattr(self.sessions, "session"):
            self.sessions.session = requests.Session()
            self.sessions.session.auth = _KeyFromEnvironment(self.endpoint.key_variable)
        reply = self.sessions.session.post(
            f"{self.endpoint.url}/chat/completions", json=payload, timeout=self.endpoint.timeout,
            allow_redirects=False)
        reply.encoding = "utf-8"  # JSON is; without it requests guesses from the bytes
        return reply

    def _judge_status(self, reply: requests.Response) -> str:
        """Why to ask again; raises when that would not help."""
        status = reply.status_code
        text = without_key(reply.text[:200], self.endpoint.key_variable)
        if status in ITEM_IS_WRONG:
            raise ItemRefusedError(f"the server refused it with {status}: {text}")
        if status not in ASK_AGAIN and status < 500:
            error = EndpointGoneError if status in GONE else ApiStoppedError
            raise error(f"the API answered {status}: {self.endpoint.advice(status)}")
        wait = retry_after(reply.headers.get("Retry-After"), datetime.now(UTC))
        if wait > self.endpoint.longest_wait:
            raise ApiStoppedError(
                f"the API answered {status} and asks to wait {wait:.0f} s; run again after that, "
                f"{self.endpoint.purpose.kept}")
        self.bucket.hold(wait)
        return f"status {status}"


def retry_after(header: str | None, now: datetime) -> float:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date); 0 if absent or unclear."""
    if not header:
        return 0.0
    if header.strip().isdigit():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def without_key(text: str, variable: str) -> str:
    """The text with the API key cut out: servers and proxies echo headers in their errors."""
    key = os.environ.get(variable, "").strip()
    return text.replace(key, "[API key]") if key else text
