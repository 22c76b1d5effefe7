"""What came of scoring one conversation: a score, or why there is none.

`score()` gives numbers and None; `stream()` gives results as they come, so that a cache can store
each before the next arrives and a report can count what is missing by reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreResult:
    """A score, or None and the reason.

    reply: what an API answered, word for word. transient: another call may succeed (a time-out, a
    busy server), so that this result must not be remembered.
    """

    score: float | None
    reason: str = ""
    reply: str = ""
    transient: bool = False


def scores_in_order(results: Iterator[tuple[int, ScoreResult]], count: int) -> list[float | None]:
    """Put streamed results back in order and keep their scores; [count]."""
    scores: list[float | None] = [None] * count
    for index, result in results:
        scores[index] = result.score
    return scores
