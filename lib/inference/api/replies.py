"""What a chat completion holds, whichever server wrote it.

Servers differ in what they put where an answer should be: null beside a field of reasoning, a
refusal, a list of parts or of messages, nothing because a filter took it. What holds no answer is
missing, with the reason; it is never an empty answer. A reply that cannot be read raises
ValueError, so that the transport asks again.
"""

import json
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any, NamedTuple

from lib.data.cells import UNENCODABLE
from lib.data.schema import MISSING
from lib.inference.sampling_settings import CANDIDATE
from lib.runtime.files import Row

ENDS = {"stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop",
        "stop_sequence": "stop", "length": "length", "max_tokens": "length",
        "model_length": "length"}
BROKEN = (None, "error", "abort")  # another attempt may end otherwise
REASONING = ("reasoning_content", "reasoning", "thinking")  # beside the answer, none of it
ONLY_REASONING = "reasoning without an answer"
SHOWN = 100  # characters of a reply in a message
ROUNDING = 0.01  # a log-probability may lie above 0 by that much


class Answer(NamedTuple):
    """A choice's text and how it ended: stop, length, or missing and why."""

    text: str
    finish: str
    reason: str = ""


def choices_of(body: str) -> tuple[list[Row], Row]:
    """The choices of a completion in the order of their `index`, and its usage (perhaps empty)."""
    reply = json.loads(body)
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices) \
            or not choices:
        raise ValueError(f"a reply without choices: {body[:SHOWN]!r}")
    places = [choice.get("index") for choice in choices]
    if all(type(place) is int for place in places):
        if 1 < len(set(places)) < len(places):  # some servers number every choice 0
            raise ValueError(f"two choices with one index: {places}")
        choices = sorted(choices, key=lambda choice: choice["index"])
    return choices, reply["usage"] if isinstance(reply.get("usage"), dict) else {}


def answer_of(choice: Mapping[str, Any]) -> Answer:
    """A choice's answer, or why it has none; raises ValueError where it cannot be read."""
    finish = choice.get("finish_reason")
    if finish in BROKEN or choice.get("error"):
        raise ValueError(f"an answer that ended with {finish!r}: {str(choice)[:SHOWN]}")
    end = ENDS.get(str(finish).lower())
    if end is None:
        return Answer("", MISSING, f"it ended with {str(finish)[:SHOWN]!r}")
    text, reason = text_of(choice)
    return Answer("", MISSING, reason) if reason else Answer(text, end)


def text_of(choice: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a choice's answer, and why there is none; raises ValueError."""
    message = message_of(choice)
    text = _text(message.get("content"))
    if not text and any(message.get(field) for field in REASONING):
        return "", ONLY_REASONING
    if text is None:
        return "", "a refusal" if message.get("refusal") else "no content"
    return text, ""


def message_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """A choice's message; some servers wrap it in a list. Raises ValueError for any other."""
    message = choice.get("message")
    if isinstance(message, list):
        answers = [one for one in message
                   if isinstance(one, dict) and one.get("role", "assistant") == "assistant"]
        message = answers[0] if len(answers) == 1 else None
    if not isinstance(message, dict):
        raise ValueError(f"a choice without one message: {str(choice)[:SHOWN]}")
    return message


def _text(content: object) -> str | None:
    """Content as text that can be encoded, the text parts of a list joined; None for none."""
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get("text") for part in content
                 if isinstance(part, str) or (isinstance(part, dict) and part.get("type", "text")
                                              in ("text", "output_text"))]
        content = "".join(map(str, filter(None, parts))) if parts else None
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content that is no text: {str(content)[:SHOWN]}")
    return None if content is None else UNENCODABLE.sub("\ufffd", content)


def count_of(value: Any) -> int | None:
    """A number of tokens, or None for anything else that a server puts there."""
    return value if type(value) is int and 0 <= value < 2**31 else None


def logp_of(value: Any) -> float:
    """A log-probability, minus infinity included; raises ValueError for what is none."""
    if type(value) not in (int, float) or not value <= ROUNDING:
        raise ValueError(f"{value!r} is no log-probability")
    return float(value) if value > -1e300 else -inf  # JSON's integers have no end


def candidates_of(body: str) -> tuple[list[Row], int | None]:
    """The candidates of a completion, and the number of prompt tokens.

    A candidate without an answer has `finish` missing and a `reason`. Raises ValueError.
    """
    choices, usage = choices_of(body)
    alone = count_of(usage.get("completion_tokens")) if len(choices) == 1 else None
    return [_candidate(choice, alone) for choice in choices], count_of(usage.get("prompt_tokens"))


def missing_candidate(reason: str) -> Row:
    """An answer that a server did not give."""
    return dict(zip(CANDIDATE, ("", None, None, MISSING, None, None), strict=True)) | {
        "reason": reason}


def _candidate(choice: Row, completion_tokens: int | None) -> Row:
    answer = answer_of(choice)
    if answer.finish == MISSING:
        return missing_candidate(answer.reason)
    logps = _logps(choice)
    tokens = completion_tokens if logps is None or completion_tokens else len(logps)
    logprob = None if logps is None or not isfinite(sum(logps)) else sum(logps)
    return dict(zip(CANDIDATE, (answer.text, _token_ids(choice), tokens, answer.finish, logprob,
                                None), strict=True))


def _logps(choice: Row) -> Sequence[float] | None:
    """The log-probability of each token, or None where the server gives none that can be read."""
    try:
        return [logp_of(token["logprob"]) for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError, ValueError):
        return None


def _token_ids(choice: Row) -> list[int] | None:
    """The choice's token ids as vLLM reports them; None unless they are a list of numbers."""
    ids = choice.get("token_ids")
    fine = isinstance(ids, list) and all(type(token) is int for token in ids)
    return ids if fine else None
