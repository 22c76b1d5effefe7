"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

The API is reached only for scores that the run's cache lacks, so that a run whose answers are all
scored needs neither key nor network. Where its endpoint is gone, a local classifier takes the
selector's role; the judge stays another model.
"""

from collections.abc import Sequence

from lib.inference.api.transport import ApiStoppedError, EndpointGoneError
from lib.inference.rewards import Conversation, RewardModel
from lib.inference.rewards.cache import CachedRewardModel, ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel, is_hosted
from lib.modeling.loading import named_revision
from lib.runtime.progress import say
from lib.study.profiles import RewardSettings
from lib.study.run import Study

HOSTED_CALLS = 40  # a minute; NVIDIA's trial tier
OWN_CALLS = 60_000  # a server of one's own is asked as fast as it answers


def remote_reward_model(study: Study, name: str) -> RewardModel:
    """The reward model called `name` behind the run's cache.

    name: nemotron, a folder, or a hub id, which may name a revision: `owner/name@commit`.
    """
    cache = ScoreCache(study.path("rewards", "scores.sqlite"))
    return ApiRewardModel(study, cache) if name == "nemotron" else _local(study, name, cache)


def api_settings(rewards: RewardSettings) -> ApiSettings:
    """How a profile reaches Nemotron."""
    hosted = is_hosted(rewards.base_url)
    calls = rewards.requests_per_minute or (HOSTED_CALLS if hosted else OWN_CALLS)
    return ApiSettings(base_url=rewards.base_url, model=rewards.api_model,
                       key_variable=rewards.key_variable, calls_per_minute=calls,
                       concurrency=4 if hosted else 16)


def cached_api_scores(study: Study) -> int:
    """How many answers of this run have a score (or a refusal) of its API in the cache."""
    path = study.path("rewards", "scores.sqlite")
    identity = NemotronRewardModel(api_settings(study.profile.rewards)).identity
    return ScoreCache(path).count(identity) if path.exists() else 0


class ApiRewardModel:
    """Nemotron behind a cache, or the profile's fallback where its endpoint is gone."""

    def __init__(self, study: Study, cache: ScoreCache) -> None:
        self.study, self.cache = study, cache
        self.api = NemotronRewardModel(api_settings(study.profile.rewards))
        self.name = self.api.name
        self.model: CachedRewardModel = cached(self.api, cache)
        self.probed = False

    def lacking(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """The conversations that the cache has no score of, each once."""
        return self.model.lacking(conversations)

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores in order; the API is probed before the first score that the cache lacks.

        Raises ApiStoppedError when a score is lacking and cannot be had.
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
