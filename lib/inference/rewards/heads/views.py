"""The two views in which the backbone reads an answer; a head's features are both side by side.

`prompt_then_answer` is the conversation. `answer_then_prompt` quotes the answer, asks which request
it answers, and has the prompt as the reply. The states at the prompt's tokens then tell how well
the answer predicts the prompt, the direction of noisy channel models (Min et al. 2022): an answer
that misses the point may read well, but does not predict its prompt.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation, answer_of
from lib.inference.rewards.heads.features import Backbone, answer_features

VIEWS = ("prompt_then_answer", "answer_then_prompt")
QUESTION = ("Here is a text:\n\n{answer}\n\n"
            "To which question or request is this text the answer?")


def view_features(backbone: Backbone, conversations: Sequence[Conversation], layers: Sequence[int],
                  views: Sequence[str] = VIEWS,
                  cache_folder: Path | str | None = None) -> np.ndarray:
    """Features of each answer by every view, float32 [conversations, views * layers * width].

    Views, and within them layers, stand side by side in their order; NaN and errors as in
    `answer_features`.
    """
    return np.hstack([answer_features(backbone, seen_as(view, conversations), layers, cache_folder)
                      for view in views])


def seen_as(view: str, conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations as that view reads them; raises ValueError for an unknown view."""
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; use {' or '.join(VIEWS)}, or fit the head again")
    return [_turned(each) if view == "answer_then_prompt" else each for each in conversations]


def _turned(conversation: Conversation) -> Conversation:
    """A question about the answer, with the user's last message as the reply."""
    prompts = [turn["content"] for turn in conversation if turn["role"] == "user"]
    return [{"role": "user", "content": QUESTION.format(answer=answer_of(conversation))},
            {"role": "assistant", "content": prompts[-1] if prompts else ""}]
