"""The views of an answer; a head's features are those of its views, side by side.

The backbone reads two of them. `prompt_then_answer` is the conversation. `answer_then_prompt`
quotes the answer, asks which request it answers, and has the prompt as the reply. The states at the
prompt's tokens then tell how well the answer predicts the prompt, the direction of noisy channel
models (Min et al. 2022): an answer that misses the point may read well, but does not predict its
prompt. `overlap_with_reference` compares the answer with a written one (`overlap`) and is for a
judge alone: a selector must not see the reference.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation, answer_of, question_of
from lib.inference.rewards.heads.features import Backbone, answer_features
from lib.inference.rewards.heads.overlap import OVERLAPS, overlaps

READ = ("prompt_then_answer", "answer_then_prompt")
OVERLAP = "overlap_with_reference"
VIEWS = (*READ, OVERLAP)
QUESTION = ("Here is a text:\n\n{answer}\n\n"
            "To which question or request is this text the answer?")
References = Mapping[str, str]  # a prompt's written answer


def view_features(backbone: Backbone, conversations: Sequence[Conversation], layers: Sequence[int],
                  views: Sequence[str] = READ, cache_folder: Path | str | None = None,
                  references: References | None = None) -> np.ndarray:
    """Features of each answer by every view, float32 [conversations, features].

    Views, and within them layers, stand side by side in their order. NaN and errors as in
    `answer_features`; the overlaps of a prompt without a reference are NaN.
    """
    return np.hstack([
        overlap_features(conversations, references or {}) if view == OVERLAP else
        answer_features(backbone, seen_as(view, conversations), layers, cache_folder)
        for view in views])


def overlap_features(conversations: Sequence[Conversation], references: References) -> np.ndarray:
    """`overlaps` of each answer with its prompt's reference, [conversations, 7]; NaN without."""
    rows = [overlaps(answer_of(each), references[question_of(each)])
            if question_of(each) in references else np.full(len(OVERLAPS), np.nan)
            for each in conversations]
    return np.array(rows, dtype=np.float32).reshape(-1, len(OVERLAPS))


def feature_scale(backbone: Backbone, layers: Sequence[int], views: Sequence[str],
                  overlap_scale: float) -> np.ndarray:
    """The scale of each feature in `head.fit_head`, [features]: 1, and that of overlaps."""
    states = len(layers) * backbone.model.config.hidden_size
    return np.concatenate([np.full(len(OVERLAPS), overlap_scale) if view == OVERLAP
                           else np.ones(states) for view in views])


def seen_as(view: str, conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations as that view reads them; raises ValueError for an unknown view."""
    if view not in READ:
        raise ValueError(f"view is {view!r}; use {' or '.join(READ)}, or fit the head again")
    return [_turned(each) if view == "answer_then_prompt" else each for each in conversations]


def _turned(conversation: Conversation) -> Conversation:
    """A question about the answer, with the user's last message as the reply."""
    return [{"role": "user", "content": QUESTION.format(answer=answer_of(conversation))},
            {"role": "assistant", "content": question_of(conversation)}]
