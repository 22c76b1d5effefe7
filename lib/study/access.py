"""Whether the reward API lets a run in, asked once before hours of work depend on it."""

from dataclasses import replace
from urllib.parse import urlsplit

from lib.inference.rewards.nemotron import HOSTED, ApiSettings, NemotronRewardModel
from lib.inference.rewards.transport import ApiStoppedError, EndpointGoneError
from lib.runtime.progress import say
from lib.study.profiles import Profile, ProfileError, RewardSettings

HOSTED_CALLS = 40  # a minute; NVIDIA's trial tier
OWN_CALLS = 60_000  # a server of one's own is asked as fast as it answers
PATIENCE = 20.0  # seconds that the one call before a run may take


def check_access(profile: Profile) -> None:
    """One call with the run's key and address; says so where the endpoint is gone.

    Raises ProfileError, one sentence, for a key or an address with which no call can succeed.
    """
    if "nemotron" not in (profile.rewards.selector, profile.rewards.judge):
        return
    quick = replace(api_settings(profile.rewards), timeout=PATIENCE, attempts=1)
    try:
        NemotronRewardModel(quick).probe()
    except EndpointGoneError as error:
        say(f"{error}; {profile.rewards.fallback} will take its place")
    except ApiStoppedError as error:
        raise ProfileError(str(error)) from error


def api_settings(rewards: RewardSettings) -> ApiSettings:
    """How a profile reaches Nemotron."""
    hosted = urlsplit(rewards.base_url).hostname == urlsplit(HOSTED).hostname
    calls = rewards.requests_per_minute or (HOSTED_CALLS if hosted else OWN_CALLS)
    return ApiSettings(base_url=rewards.base_url, model=rewards.api_model,
                       key_variable=rewards.key_variable, calls_per_minute=calls,
                       concurrency=4 if hosted else 16)
