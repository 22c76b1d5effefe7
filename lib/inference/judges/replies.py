"""The verdict in a chat model's reply; strict, because a wrong guess is a wrong verdict.

A reply, after a block of reasoning (`<think>...</think>`), holds one verdict form of its style,
once, at its end. Anything else is no verdict: two forms, none, a refusal, a reply that was cut off.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from lib.inference.api.replies import choices_of, count_of, logp_of, text_of
from lib.inference.judges.styles import Style

FORM = re.compile(r"\[\[[^\[\]\n]{1,8}\]\]")
CHARACTERS_A_TOKEN = 4  # where a server does not count


class ChatReply(NamedTuple):
    """What a chat completion holds.

    logprobs: of each candidate for the first token, or None. missing: why there is no text.
    """

    text: str
    logprobs: Mapping[str, float] | None
    tokens_read: int | None
    tokens_written: int
    missing: str = ""


class Verdict(NamedTuple):
    """The preference for the answer shown first, 0 to 1, its weight, and where it was read."""

    preference: float
    weight: int
    by_logprobs: bool = False


def read_reply(body: str) -> ChatReply:
    """The reply in a body of JSON; raises ValueError for what is no completion with one choice."""
    choices, usage = choices_of(body)
    if len(choices) != 1:
        raise ValueError(f"the reply {body[:120]!r} is not a chat completion with one choice")
    text, missing = text_of(choices[0])
    written = count_of(usage.get("completion_tokens"))
    return ChatReply(text, _first_logprobs(choices[0]), count_of(usage.get("prompt_tokens")),
                     math.ceil(len(text) / CHARACTERS_A_TOKEN) if written is None else written,
                     missing)


def read_verdict(reply: ChatReply, style: Style) -> Verdict | None:
    """The verdict of a reply, or None where it holds none."""
    if style.logprobs:
        return _from_logprobs(reply.logprobs, style) or _from_letter(reply.text, style)
    text = _without_reasoning(reply.text)
    forms = [form for form in FORM.findall(text) if form in style.verdicts]
    if len(forms) != 1 or not text.rstrip("*. ").endswith(forms[0]):
        return None
    return Verdict(*style.verdicts[forms[0]])


def _from_letter(text: str, style: Style) -> Verdict | None:
    scale = style.verdicts.get(_without_reasoning(text))
    return None if scale is None else Verdict(*scale)


def _without_reasoning(text: str) -> str:
    """What follows a block of reasoning; nothing where the block was cut off.

    Some chat templates open the block in the prompt, so that a reply only closes it.
    """
    text = text.rpartition("</think>")[2].strip()
    return "" if text.startswith("<think>") else text


def _from_logprobs(logprobs: Mapping[str, float] | None, style: Style) -> Verdict | None:
    """The first answer's share of the probability that the verdicts' tokens have."""
    shares = {form: sum(math.exp(value) for token, value in (logprobs or {}).items()
                        if token.strip() == form) for form in style.verdicts}
    total = sum(shares.values())
    if not total or not math.isfinite(total):
        return None
    preference = sum(style.verdicts[form].preference * share for form, share in shares.items())
    return Verdict(preference / total, 1, by_logprobs=True)


def _first_logprobs(choice: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Log-probabilities of the likeliest first tokens, or None where the server gives none."""
    try:
        return {entry["token"]: logp_of(entry["logprob"])
                for entry in choice["logprobs"]["content"][0]["top_logprobs"]} or None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
