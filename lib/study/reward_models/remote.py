"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

A run calls the API only for scores that its cache lacks, so that a run with all its scores needs
neither key nor network. If the endpoint no longer exists, a local classifier takes its role.
"""

from collections.abc import Sequence

from lib.inference.api.transport import ApiStoppedError, EndpointGoneError
from lib.inference.rewards import Conversation
from lib.inference.rewards.cache import CachedRewardModel, ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.remote.nemotron import NemotronRewardModel
from lib.modeling.loading import named_revision
from lib.runtime.progress import say
from lib.study.reward_models.api import api_settings
from lib.study.run import Study


def remote_reward_model(study: Study, name: str) -> "ApiRewardModel | CachedRewardModel":
    """The reward model called `name` behind the run's cache.

    name: nemotron, a folder, or a hub id, which may name a revision: `owner/name@commit`.
    """
    cache = ScoreCache(study.path("rewards", "scores.sqlite"))
    return ApiRewardModel(study, cache) if name == "nemotron" else _local(study, name, cache)


class ApiRewardModel:
    """Nemotron behind a cache, or the profile's fallback if its endpoint no longer exists."""

    def __init__(self, study: Study, cache: ScoreCache) -> None:
        self.study, self.cache = study, cache
        self.api = NemotronRewardModel(api_settings(study.profile.rewards))
        self.name = self.api.name
        self.model: CachedRewardModel = cached(self.api, cache)
        self.probed = False

    def lacking(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """Distinct conversations without a cached score."""
        return self.model.lacking(conversations)

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores in order; a probe comes before the first score that the cache lacks.

        Raises ApiStoppedError if the API gives no score that the cache lacks.
        """
        lacking = self.lacking(conversations)
        if lacking and not self.probed:
            self._probe(len(lacking), len(conversations))
        return self.model.score(conversations)

    def _probe(self, lacking: int, wanted: int) -> None:
        fallback = self.study.profile.rewards.fallback
        try:
            self.api.probe()
        except EndpointGoneError as error:
            if kept := self.cache.count(self.api.identity):
                raise ApiStoppedError(
                    f"{lacking} of {wanted} answers have no cached score of {self.name}, and "
                    f"{error}; {kept} other answers have one, and scores of two models cannot be "
                    f"compared: name {fallback} as the reward model to score all anew") from None
            say(f"{error}; falling back to {fallback}")
            self.model = _local(self.study, fallback, self.cache)
        except ApiStoppedError as error:
            raise ApiStoppedError(f"{lacking} of {wanted} answers have no cached score of "
                                  f"{self.name} in {self.cache.path}, and {error}") from None
        self.probed = True


def _local(study: Study, name: str, cache: ScoreCache) -> CachedRewardModel:
    """A classifier on this machine, in the run's precision."""
    source, revision = named_revision(name)
    device = study.device
    return cached(load_classifier(source, revision=revision, dtype=device.dtype,
                                  device=device.device), cache)
