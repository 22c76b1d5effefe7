"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

A retired Nemotron endpoint does not end a study: the probe says so and the local classifier steps
in, in the selector's role only, because the judge must stay another model.
"""

from lib.inference.rewards import RewardModel
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.nemotron import NemotronRewardModel
from lib.inference.rewards.transport import EndpointGoneError
from lib.runtime.progress import say
from lib.study.access import api_settings
from lib.study.run import Study


def remote_reward_model(study: Study, name: str) -> RewardModel:
    """The reward model called `name` (nemotron, a folder or a hub id) behind the run's cache."""
    cache = ScoreCache(study.path("rewards", "scores.sqlite"))
    device = study.device
    if name != "nemotron":
        return cached(load_classifier(name, dtype=device.dtype, device=device.device), cache)
    fallback = study.profile.rewards.fallback
    model = NemotronRewardModel(api_settings(study.profile.rewards))
    try:
        model.probe()
    except EndpointGoneError as error:
        say(f"{error}; falling back to {fallback}")
        return cached(load_classifier(fallback, dtype=device.dtype, device=device.device), cache)
    return cached(model, cache)
