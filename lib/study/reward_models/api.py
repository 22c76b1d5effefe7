"""How a profile reaches Nemotron's API, and which of its scores a run already has.

It imports no model library, so that a plan, which reads these settings, starts quickly.
"""

from lib.inference.rewards.cache import ScoreCache
from lib.inference.rewards.remote.nemotron import ApiSettings, NemotronRewardModel, is_hosted
from lib.study.profiles import RewardSettings
from lib.study.run import Study

HOSTED_CALLS = 40  # a minute; NVIDIA's trial tier
OWN_CALLS = 60_000  # your own server sets the pace


def api_settings(rewards: RewardSettings) -> ApiSettings:
    """Address, key, rate and concurrency of the API that a profile names."""
    hosted = is_hosted(rewards.base_url)
    calls = rewards.requests_per_minute or (HOSTED_CALLS if hosted else OWN_CALLS)
    return ApiSettings(base_url=rewards.base_url, model=rewards.api_model,
                       key_variable=rewards.key_variable, calls_per_minute=calls,
                       concurrency=4 if hosted else 16)


def cached_api_scores(study: Study) -> int:
    """How many answers of this run have a score of its API in the cache."""
    path = study.path("rewards", "scores.sqlite")
    identity = NemotronRewardModel(api_settings(study.profile.rewards)).identity
    return ScoreCache(path).count(identity) if path.exists() else 0
