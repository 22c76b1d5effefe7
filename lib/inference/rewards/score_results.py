"""The result of scoring one conversation: a score, or the reason for its absence.

`score()` gives numbers and None; `stream()` yields results as they come, so that a cache can store
each before the next arrives and a report can count missing scores by reason.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lib.inference.rewards import Conversation


@dataclass(frozen=True)
class ScoreResult:
    """A score, or None and the reason.

    reply: an API's answer, word for word. transient: another call may succeed (a time-out, a busy
    server), so no cache keeps this result.
    """

    score: float | None
    reason: str = ""
    reply: str = ""
    transient: bool = False


class StreamingRewardModel(ABC):
    """A reward model whose `score` puts the results of its `stream` in order."""

    @abstractmethod
    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result) in any order."""

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores in the order of the conversations; None where one could not be scored."""
        results = dict(self.stream(conversations))
        return [results[index].score for index in range(len(conversations))]
