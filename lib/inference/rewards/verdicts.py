"""What came of one conversation: a score, or why there is none.

`score()` gives numbers and None; `stream()` gives verdicts as they come, so that a cache can store
each before the next arrives and a report can count what is missing by reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lib.inference.rewards import Conversation, RewardModel


@dataclass(frozen=True)
class Verdict:
    """A score, or None and the reason.

    reply: what an API answered, word for word. transient: asking again may help (a time-out, a
    busy server), so that this verdict must not be remembered.
    """

    score: float | None
    reason: str = ""
    reply: str = ""
    transient: bool = False


class StreamingRewardModel(RewardModel, Protocol):
    """A reward model that gives its verdicts one by one.

    identity: name and weights in one string; equal identities give equal scores.
    """

    identity: str

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index, verdict) for every conversation, in any order."""
        ...


def scores_in_order(verdicts: Iterator[tuple[int, Verdict]], count: int) -> list[float | None]:
    """Put streamed verdicts back in order and keep their scores; [count]."""
    scores: list[float | None] = [None] * count
    for index, verdict in verdicts:
        scores[index] = verdict.score
    return scores


def answer_of(conversation: Conversation) -> str:
    """Text of the last message, which must be the assistant's; raises ValueError otherwise."""
    if not conversation or conversation[-1].get("role") != "assistant":
        last = conversation[-1].get("role") if conversation else "nothing"
        raise ValueError(f"the conversation ends with {last!r}; a reward model scores an assistant "
                         "turn, so put the answer last")
    return conversation[-1]["content"]
