"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

A retired Nemotron endpoint does not end a study: the probe says so and the local classifier steps
in, in the selector's role only, because the judge must stay another model.
"""

from urllib.parse import urlsplit

from lib.inference.rewards import RewardModel
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.nemotron import HOSTED, ApiSettings, NemotronRewardModel
from lib.inference.rewards.transport import EndpointGoneError
from lib.runtime.progress import say
from lib.study.profiles import RewardSettings
from lib.study.run import Study

HOSTED_CALLS = 40  # a minute; NVIDIA's trial tier
OWN_CALLS = 60_000  # a server of one's own is asked as fast as it answers


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


def api_settings(rewards: RewardSettings) -> ApiSettings:
    """How a profile reaches Nemotron."""
    hosted = urlsplit(rewards.base_url).hostname == urlsplit(HOSTED).hostname
    calls = rewards.requests_per_minute or (HOSTED_CALLS if hosted else OWN_CALLS)
    return ApiSettings(base_url=rewards.base_url, model=rewards.api_model,
                       key_variable=rewards.key_variable, calls_per_minute=calls,
                       concurrency=4 if hosted else 16)
