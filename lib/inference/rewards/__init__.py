"""Reward models: one number for an answer to a prompt, comparable within one prompt only.

A reward model has a `name` and `score(conversations) -> list[float | None]`; `None` means "could
not be scored" and never becomes a number, because 0 is a high score on some scales and a low one on
others. A conversation is a list of messages that ends with the answer.
"""

from collections.abc import Sequence
from typing import Protocol

ROLES = ("selector", "judge")  # one picks among the candidates, one says which answer is better
OWN_READER = "reader"  # whoever read this run's answers blind; most runs have none
CUT = "length"  # what a candidate's `finish` says of an answer that ran into the token limit
Message = dict[str, str]  # role, content, and of a cut-off answer `finish`
Conversation = Sequence[Message]


class RewardModel(Protocol):
    """The interface of reward models."""

    @property
    def name(self) -> str:
        """What it is called in files and tables."""
        ...

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """One score a conversation, in order; None where it could not be scored."""
        ...


def conversation(prompt: str | Conversation, answer: str, cut_off: bool = False) -> Conversation:
    """A prompt (its text or messages) and its answer as reward models read them.

    cut_off: the answer has no end of turn.
    """
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    end = {"finish": CUT} if cut_off else {}
    return [*before, {"role": "assistant", "content": answer} | end]


def ends_cut_off(conversation: Conversation) -> bool:
    """Whether the last message ran into a token limit."""
    return conversation[-1].get("finish") == CUT


def deciding(conversation: Conversation) -> list[list[str]]:
    """What a score depends on: each message's role and content, and that the answer was cut."""
    return [[message[key] for key in ("role", "content", "finish") if key in message]
            for message in conversation]


def answer_of(conversation: Conversation) -> str:
    """Text of the last message, which must be the assistant's; raises ValueError otherwise."""
    if not conversation or conversation[-1].get("role") != "assistant":
        last = conversation[-1].get("role") if conversation else "nothing"
        raise ValueError(f"the conversation ends with {last!r}; a reward model scores an assistant "
                         "turn, so put the answer last")
    return conversation[-1]["content"]


def question_of(conversation: Conversation) -> str:
    """Text of the user's last message, to which a reference belongs; empty without one."""
    asked = [message["content"] for message in conversation if message["role"] == "user"]
    return asked[-1] if asked else ""
