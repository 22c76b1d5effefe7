"""Reward models that are not embedded: Nemotron's API or a classifier, with cached scores.

A retired Nemotron endpoint does not end a study: the probe says so and the local classifier steps
in, in the selector's role only, because the judge must stay another model.
"""

from lib.inference.rewards import RewardModel
from lib.inference.rewards.cache import ScoreCache, cached
from lib.inference.rewards.classifier import load_classifier
from lib.inference.rewards.nemotron import ApiSettings, NemotronRewardModel
from lib.inference.rewards.transport import EndpointGoneError
from lib.runtime.progress import say
from lib.study.run import Study

FALLBACK = "Skywork/Skywork-Reward-V2-Llama-3.2-1B"


def remote_reward_model(study: Study, name: str) -> RewardModel:
    """The reward model called `name` (nemotron, a folder or a hub id) behind the run's cache."""
    cache = ScoreCache(study.path("rewards", "scores.sqlite"))
    device = study.device
    if name != "nemotron":
        return cached(load_classifier(name, dtype=device.dtype, device=device.device), cache)
    rewards = study.profile.rewards
    model = NemotronRewardModel(ApiSettings(base_url=rewards.base_url,
                                            calls_per_minute=rewards.requests_per_minute))
    try:
        model.probe()
    except EndpointGoneError as error:
        say(f"{error}; falling back to {FALLBACK}")
        return cached(load_classifier(FALLBACK, dtype=device.dtype, device=device.device), cache)
    return cached(model, cache)
