"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

A retired Nemotron endpoint does not end a study: the probe says so and the local classifier steps
in, in the selector's role only, because the judge must stay another model.
"""

from lib.inference.api.transport import EndpointGoneError
from lib.inference.rewards import RewardModel
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.remote.nemotron import NemotronRewardModel
from lib.modeling.loading import named_revision
from lib.runtime.progress import say
from lib.study.planning.access import api_settings
from lib.study.run import Study


def remote_reward_model(study: Study, name: str) -> RewardModel:
    """The reward model called `name` behind the run's cache.

    name: nemotron, a folder, or a hub id, which may name a revision: `owner/name@commit`.
    """
    cache = ScoreCache(study.path("rewards", "scores.sqlite"))
    if name != "nemotron":
        return _local(study, name, cache)
    fallback = study.profile.rewards.fallback
    model = NemotronRewardModel(api_settings(study.profile.rewards))
    try:
        model.probe()
    except EndpointGoneError as error:
        say(f"{error}; falling back to {fallback}")
        return _local(study, fallback, cache)
    return cached(model, cache)


def _local(study: Study, name: str, cache: ScoreCache) -> RewardModel:
    """A classifier on this machine, in the run's precision."""
    source, revision = named_revision(name)
    device = study.device
    return cached(load_classifier(source, revision=revision, dtype=device.dtype,
                                  device=device.device), cache)
