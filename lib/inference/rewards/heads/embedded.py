"""The embedded reward model: a head on the hidden states of a small local language model.

Selector and judge read the same features of the same backbone, which one pass or a shared cache
folder computes once for both; the judge compares each answer with a written reference as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation, question_of
from lib.inference.rewards.heads.features import POOLING, Backbone
from lib.inference.rewards.heads.head import Head
from lib.inference.rewards.heads.views import (
    READ,
    VIEWS,
    References,
    view_features,
)
from lib.inference.rewards.score_results import ScoreResult, StreamingRewardModel
from lib.runtime.progress import about


@dataclass(frozen=True)
class EmbeddedRewardModel(StreamingRewardModel):
    """Scores answers by `head` on features of `backbone`; none for one beyond its context.

    references: the written answers, by prompt, of a head that reads them. without_reference: the
    head for prompts that have none; its scores have another scale, and never meet the first ones,
    because a prompt's answers all have a reference or all have none. Raises ValueError when a head
    was fitted on another backbone, dtype, pooling or view.
    """

    name: str
    head: Head
    backbone: Backbone
    cache_folder: Path | str | None = None
    references: References = field(default_factory=dict)
    without_reference: Head | None = None

    def __post_init__(self) -> None:
        for head in self.heads:
            _check_fitted(self.name, head, self.backbone)

    @property
    def heads(self) -> list[Head]:
        """The head, and the one for prompts without a reference if there is one."""
        return [head for head in (self.head, self.without_reference) if head is not None]

    @property
    def identity(self) -> str:
        """Name and weights in one string."""
        return "embedded:" + "+".join(head.digest for head in self.heads)

    def lacking(self, conversations: Sequence[Conversation]) -> list[int]:
        """Indices of the conversations whose reference `head` would need; none if it reads none."""
        return [index for index, each in enumerate(conversations)
                if self.head.reads_reference and question_of(each) not in self.references]

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result), in order."""
        yield from enumerate(_results([self], conversations)[self.name])


def score_with_all(models: Sequence[EmbeddedRewardModel],
                   conversations: Sequence[Conversation]) -> dict[str, list[float | None]]:
    """Scores by several models of one backbone: {name: [scores]}.

    A view that several heads read costs one pass. Raises ValueError when the models have different
    backbones.
    """
    if len({model.backbone.digest for model in models}) > 1:
        raise ValueError("the models have different backbones; score them one by one")
    return {name: [result.score for result in results]
            for name, results in _results(models, conversations).items()}


def _results(models: Sequence[EmbeddedRewardModel],
             conversations: Sequence[Conversation]) -> Mapping[str, list[ScoreResult]]:
    first = models[0]

    @cache
    def seen(layers: tuple[int, ...], view: str) -> np.ndarray:
        """Features of one view without references, once for all models."""
        readers = [model.name for model in models
                   if model.head.layers == layers and view in model.head.views]
        with about(f"for {' and '.join(readers)}"):
            return view_features(first.backbone, conversations, layers, [view], first.cache_folder)

    def seen_beside_reference(model: EmbeddedRewardModel, view: str) -> np.ndarray:
        """Features of one view that one model reads after its references."""
        with about(f"for {model.name}"):
            return view_features(model.backbone, conversations, model.head.layers, [view],
                                 model.cache_folder, model.references)

    results = {}
    for model in models:
        features = np.hstack([
            seen(model.head.layers, view) if view in READ else seen_beside_reference(model, view)
            for view in model.head.views])
        results[model.name] = _named(model.head(features), model.backbone.context)
        if (lacking := model.lacking(conversations)) and model.without_reference:
            other = replace(model, head=model.without_reference, without_reference=None)
            found = _results([other], [conversations[index] for index in lacking])[model.name]
            for index, result in zip(lacking, found, strict=True):
                results[model.name][index] = result
    return results


def _named(rewards: np.ndarray, context: float) -> list[ScoreResult]:
    """Rewards of answers; NaN (of a text that was not read) gives None and the reason."""
    unread = ScoreResult(None, f"longer than the backbone's {context} tokens, not finite there, or "
                               "without the reference that the head needs")
    return [ScoreResult(float(reward)) if np.isfinite(reward) else unread for reward in rewards]


def _check_fitted(name: str, head: Head, backbone: Backbone) -> None:
    if head.backbone != backbone.digest or head.pooling != POOLING:
        raise ValueError(
            f"the head {name!r} was fitted on backbone {head.backbone} with {head.pooling} "
            f"pooling, and this is {backbone.digest} with {POOLING}; fit the head again")
    if unknown := set(head.views) - set(VIEWS):
        raise ValueError(f"the head {name!r} was fitted on the views "
                         f"{', '.join(sorted(unknown))}, and the views are now "
                         f"{', '.join(VIEWS)}; fit the head again")
