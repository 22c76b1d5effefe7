"""Reward models: one number for an answer to a prompt, comparable within one prompt only.

A reward model is anything with a `name` and `score(conversations) -> list[float | None]`; `None`
means "could not be scored" and is never turned into a number, because 0 is a high score on some
scales and a low one on others. A conversation is a list of messages that ends with the answer.
"""

from collections.abc import Sequence
from typing import Protocol

Message = dict[str, str]
Conversation = Sequence[Message]


class RewardModel(Protocol):
    """What Best-of-N and the judges ask of a reward model."""

    name: str

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """One score a conversation, in order; None where it could not be scored."""
        ...
