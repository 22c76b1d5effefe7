"""The embedded reward model: a head on the hidden states of a small local language model.

The selector and the judge are two heads on the same features of the same backbone, which one pass
or a shared cache folder computes once for both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.inference.rewards import Conversation
from lib.inference.rewards.heads.features import POOLING, Backbone
from lib.inference.rewards.heads.head import Head
from lib.inference.rewards.heads.views import VIEWS, view_features
from lib.inference.rewards.score_results import ScoreResult, StreamingRewardModel


@dataclass(frozen=True)
class EmbeddedRewardModel(StreamingRewardModel):
    """Scores answers by `head` on features of `backbone`; none for one beyond its context.

    Raises ValueError when the head was fitted on another backbone, dtype, pooling or view.
    """

    name: str
    head: Head
    backbone: Backbone
    cache_folder: Path | str | None = None

    def __post_init__(self) -> None:
        fitted, given = self.head.backbone, self.backbone.digest
        if fitted != given or self.head.pooling != POOLING:
            raise ValueError(
                f"the head {self.name!r} was fitted on backbone {fitted} with {self.head.pooling} "
                f"pooling, and this is {given} with {POOLING}; fit the head again")
        if unknown := set(self.head.views) - set(VIEWS):
            raise ValueError(f"the head {self.name!r} was fitted on the views "
                             f"{', '.join(sorted(unknown))}, and the views are now "
                             f"{' and '.join(VIEWS)}; fit the head again")

    @property
    def identity(self) -> str:
        """Name and weights in one string."""
        return f"embedded:{self.head.digest}"

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result), in order."""
        features = view_features(self.backbone, conversations, self.head.layers, self.head.views,
                                 self.cache_folder)
        yield from enumerate(_results(self.head, features, self.backbone.context))


def score_with_all(models: Sequence[EmbeddedRewardModel],
                   conversations: Sequence[Conversation]) -> dict[str, list[float | None]]:
    """Scores by several heads of one backbone: {name: [scores]}.

    Heads with the same layers and views share one pass. Raises ValueError when the models have
    different backbones.
    """
    if len({model.backbone.digest for model in models}) > 1:
        raise ValueError("the models have different backbones; score them one by one")
    backbone, cache = models[0].backbone, models[0].cache_folder
    features = {(layers, views): view_features(backbone, conversations, layers, views, cache)
                for layers, views in {(model.head.layers, model.head.views) for model in models}}
    return {model.name: [result.score for result in _results(
                model.head, features[model.head.layers, model.head.views], backbone.context)]
            for model in models}


def _results(head: Head, features: np.ndarray, context: int) -> list[ScoreResult]:
    """Rewards of answers; NaN features (of a text that was not read) give None and the reason."""
    unread = ScoreResult(None, f"longer than the backbone's {context} tokens, or not finite there")
    return [ScoreResult(float(reward)) if np.isfinite(reward) else unread
            for reward in head(features)]
