"""The two ways in which the backbone reads an answer; a head's features are both side by side.

`answered` is the conversation as it stands. `asked` turns it round: the answer comes first, as a
text, and the prompt is read as the reply to the question what the text answers. The states at the
prompt's tokens then tell whether such an answer leads back to such a prompt, the direction of noisy
channel models (Min et al. 2022): an answer beside the point may read well, but does not.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation, answer_of
from lib.inference.rewards.heads.features import Backbone, answer_features

VIEWS = ("answered", "asked")
QUESTION = ("Here is a text:\n\n{answer}\n\n"
            "To which question or request is this text the answer?")


def view_features(backbone: Backbone, conversations: Sequence[Conversation], layers: Sequence[int],
                  views: Sequence[str] = VIEWS,
                  cache_folder: Path | str | None = None) -> np.ndarray:
    """Features of each answer by every view, float32 [conversations, views * layers * width].

    Views, and within them layers, stand side by side in the order given; NaN and errors as in
    `answer_features`.
    """
    return np.hstack([answer_features(backbone, seen_as(view, conversations), layers, cache_folder)
                      for view in views])


def seen_as(view: str, conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations as that view reads them. Raises ValueError for a view that is not known."""
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; use {' or '.join(VIEWS)}, or fit the head again")
    return [_turned(each) if view == "asked" else each for each in conversations]


def _turned(conversation: Conversation) -> Conversation:
    """The answer as a text that is asked about, the last thing the user wrote as the reply."""
    asked = [turn["content"] for turn in conversation if turn["role"] == "user"]
    return [{"role": "user", "content": QUESTION.format(answer=answer_of(conversation))},
            {"role": "assistant", "content": asked[-1] if asked else ""}]
