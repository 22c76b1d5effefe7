"""How many decoding steps are left, while nobody knows how long the answers get.

Steps measure the work, because a step takes nearly the same time however many answers it goes on
with. The answers so far tell the mean length of the others; one that runs may get as long as the
longest.
"""

import math
from collections.abc import Sequence

from lib.inference.engine.decoding import Sample


class DecodingSteps:
    """Counts steps; answers: to be sampled in all, limit: the most tokens of one."""

    def __init__(self, answers: int, limit: int) -> None:
        self.answers, self.limit = answers, limit
        self.steps = self.ended = self.tokens = self.longest = self.rows = 0

    def after(self, ended: Sequence[Sample], running: Sequence[Sample]) -> tuple[int, float]:
        """Steps over, and steps in all as now expected, when a step ended some answers."""
        self.steps += 1
        self.ended += len(ended)
        self.tokens += sum(len(sample.tokens) for sample in ended)
        self.longest = max([self.longest, *(len(sample.tokens) for sample in ended)])
        self.rows = max(self.rows, len(ended) + len(running))
        return self.steps, self.steps + self._left([len(sample.tokens) for sample in running])

    def _left(self, lengths: list[int]) -> float:
        """All tokens to come shared by the rows of a step, or the last running answer's."""
        mean = min(self.limit,  # at first as if one answer of half the limit had ended
                   (self.tokens + sum(lengths) + self.limit / 2) / (self.ended + 1))
        waiting = self.answers - self.ended - len(lengths)
        tokens = waiting * mean + sum(min(mean, self.limit - length) for length in lengths)
        return max(tokens / max(self.rows, 1), self._last(lengths, mean) if lengths else 0.0)

    def _last(self, lengths: list[int], mean: float) -> float:
        """Steps until the last of the running answers ends."""
        youngest = min(lengths)
        most = self.longest if youngest < self.longest else self.limit
        return min(most - youngest, mean * (1 + math.log(len(lengths))))
