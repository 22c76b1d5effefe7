"""The reward in a reply of a chat-completions API; strict, because a wrong guess is a wrong score.

Current reward models reply `reward:-25.625` as text. Older ones (Nemotron-4-340B, those trained on
HelpSteer) reply five attributes, as log-probabilities of attribute names or as `name:score` text;
their `helpfulness` is the reward. Some wrap the message in a list.
"""

import math
import re
from typing import Any

from lib.inference.api.replies import choices_of, text_of

ATTRIBUTES_READ = ("reward", "helpfulness")
NAMES = {*ATTRIBUTES_READ, "correctness", "coherence", "complexity", "verbosity"}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
REWARD = re.compile(rf"\s*(?:reward\s*:)?\s*({NUMBER})\s*", re.IGNORECASE)
ATTRIBUTES = re.compile(rf"\s*(\w+)\s*:\s*({NUMBER})\s*")


class UnreadableReplyError(ValueError):
    """A reply that does not hold exactly one finite reward."""


def parse_reward(body: str) -> float:
    """The reward in a chat-completions reply; raises UnreadableReplyError, never guesses."""
    try:
        (choice,) = choices_of(body)[0]
        text = text_of(choice)[0]
    except (ValueError, RecursionError) as error:
        raise UnreadableReplyError(
            f"the reply {body[:120]!r} is not a chat completion with one choice") from error
    found = _from_text(text) if text.strip() else _from_logprobs(choice)
    if found is None or not math.isfinite(found):
        raise UnreadableReplyError(f"no single finite reward in the reply {body[:120]!r}")
    return found


def _from_logprobs(choice: dict[str, Any]) -> float | None:
    """The reward among named scores; None where the names are tokens of a text."""
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list):
        return None
    named = [(str(entry.get("token")).strip(), entry.get("logprob")) for entry in entries
             if isinstance(entry, dict)]
    scores: list[Any] = [score for name, score in named if name in ATTRIBUTES_READ]
    if len(named) < len(entries) or any(name not in NAMES for name, _ in named):
        return None
    fine = len(scores) == 1 and type(scores[0]) in (int, float) and abs(scores[0]) < 1e300
    return float(scores[0]) if fine else None  # JSON's integers have no end


def _from_text(text: str) -> float | None:
    if reward := REWARD.fullmatch(text):
        return float(reward[1])
    pairs = [ATTRIBUTES.fullmatch(piece) for piece in re.split(r"[,;\n]", text) if piece.strip()]
    scores = [float(pair[2]) for pair in pairs if pair and pair[1] in ATTRIBUTES_READ]
    return scores[0] if all(pairs) and len(scores) == 1 else None
