"""Files and folders that a profile names and that are not there, told before anything else."""

from collections.abc import Iterator
from pathlib import Path

from lib.data.sources import check_places
from lib.inference.judges.settings import LLM
from lib.modeling.folders import folder_fault
from lib.modeling.packages import PACKAGED
from lib.runtime.files import FileError
from lib.runtime.progress import say
from lib.study.profiles import Profile, ProfileError
from lib.study.run import Study

MADE_HERE = (*PACKAGED, "smoke", "embedded", "nemotron", LLM)  # names without a folder or hub id


def check_named(study: Study) -> None:
    """Raise ProfileError, one sentence, for a name that is a path and leads nowhere.

    Finished stages need nothing more.
    """
    if _is_open(study, "responses"):
        for setting, name in named_models(study.profile):
            if name in MADE_HERE:
                continue
            if fault := folder_fault(name):
                raise ProfileError(f"{setting}: {fault}")
            if not Path(name).exists():
                say(f"{setting}: {name} is no folder here, so a hub is asked for it")
    if _is_open(study, "data"):
        try:
            check_places(study.profile.data)
        except FileError as error:
            raise ProfileError(str(error)) from None


def named_models(profile: Profile) -> Iterator[tuple[str, str]]:
    """(setting, name) of every model that the run reads."""
    rewards = profile.rewards
    yield "model.name", profile.model.name
    yield "rewards.selector", rewards.selector
    yield "rewards.judge", rewards.judge
    if "embedded" in (rewards.selector, rewards.scoring.judge):
        yield "rewards.backbone", rewards.backbone
    if "nemotron" in (rewards.selector, rewards.scoring.judge):
        yield "rewards.fallback", rewards.fallback


def _is_open(study: Study, stage: str) -> bool:
    return study.force or not study.path(stage, "manifest.json").exists()
