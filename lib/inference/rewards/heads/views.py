"""The views of an answer; a head's features are those of its views, side by side.

The backbone reads two of them. `prompt_then_answer` is the conversation. `answer_then_prompt`
quotes the answer, asks which request it answers, and has the prompt as the reply. The states at the
prompt's tokens then tell how well the answer predicts the prompt, the direction of noisy channel
models (Min et al. 2022): an answer that misses the point may read well, but does not predict its
prompt. `reference_then_answer` is the conversation with a written answer shown before; the states
then tell how the answer differs from it. `overlap_with_reference` compares the two by their words
(`overlap`), and no model reads it. Both are for a judge alone: a selector must not see the
reference.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation, answer_of, question_of
from lib.inference.rewards.heads.features import Backbone, answer_features
from lib.inference.rewards.heads.overlap import OVERLAPS, overlaps
from lib.runtime.progress import about

READ = ("prompt_then_answer", "answer_then_prompt")
SHOWN, OVERLAP = "reference_then_answer", "overlap_with_reference"
WITH_REFERENCE = (SHOWN, OVERLAP)
VIEWS = (*READ, *WITH_REFERENCE)
QUESTION = ("Here is a text:\n\n{answer}\n\n"
            "To which question or request is this text the answer?")
TOLD = ("{prompt}\n\nA correct answer to this is:\n\n{reference}\n\n"
        "Now answer it in your own words.")
References = Mapping[str, str]  # a prompt's written answer


def view_features(backbone: Backbone, conversations: Sequence[Conversation], layers: Sequence[int],
                  views: Sequence[str] = READ, cache_folder: Path | str | None = None,
                  references: References | None = None) -> np.ndarray:
    """Features of each answer by every view, float32 [conversations, features].

    Views, and within them layers, stand side by side in their order. NaN and errors as in
    `answer_features`; those of `WITH_REFERENCE` are NaN where the prompt has no reference.
    """
    return np.hstack([
        overlap_features(conversations, references or {}) if view == OVERLAP else
        _read_features(backbone, view, seen_as(view, conversations, references or {}), layers,
                       cache_folder) for view in views])


def _read_features(backbone: Backbone, view: str, seen: Sequence[Conversation | None],
                   layers: Sequence[int], cache_folder: Path | str | None) -> np.ndarray:
    """`answer_features`, NaN for what the view could not show."""
    shown = {index: each for index, each in enumerate(seen) if each is not None}
    with about(view.replace("_", " ")):
        found = answer_features(backbone, list(shown.values()), layers, cache_folder)
    features = np.full((len(seen), found.shape[1]), np.nan, dtype=np.float32)
    features[list(shown)] = found
    return features


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


def seen_as(view: str, conversations: Sequence[Conversation],
            references: References | None = None) -> list[Conversation | None]:
    """The conversations as the backbone reads them in that view; None without a reference.

    Raises ValueError for a view that it does not read.
    """
    if view == SHOWN:
        return [_told(each, references or {}) for each in conversations]
    if view not in READ:
        raise ValueError(f"view is {view!r}; use {', '.join((*READ, SHOWN))}, or fit the head "
                         "again")
    return [_turned(each) if view == "answer_then_prompt" else each for each in conversations]


def _told(conversation: Conversation, references: References) -> Conversation | None:
    """The conversation with the reference below the user's last message; None without one."""
    prompt = question_of(conversation)
    if prompt not in references:
        return None
    asked = max(index for index, each in enumerate(conversation) if each["role"] == "user")
    told = TOLD.format(prompt=prompt, reference=references[prompt])
    return [*conversation[:asked], {"role": "user", "content": told}, *conversation[asked + 1:]]


def _turned(conversation: Conversation) -> Conversation:
    """A question about the answer, with the user's last message as the reply."""
    return [{"role": "user", "content": QUESTION.format(answer=answer_of(conversation))},
            {"role": "assistant", "content": question_of(conversation)}]
