"""A run as its folder recorded it: profile, pools, systems and judge, without the profile's name.

Nothing here writes into the folder or makes a stage again.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lib.runtime.files import Row, sha256_of, shown
from lib.runtime.manifest import read_manifest
from lib.runtime.settings import build
from lib.study.profiles import Profile
from lib.study.run import Study, StudyError

READ = ("pools/", "picks.json")  # what is read of the responses
SECTIONS = ("model", "sampling", "rewards")  # of the profile, in the manifest of the responses


def recorded_study(folder: Path) -> Study:
    """The run whose answers a folder holds, with the settings that they were made with.

    Raises StudyError for a folder without finished answers, or with others than were written.
    """
    if not folder.is_dir():
        raise StudyError(f"there is no run folder {shown(folder)}; name one that a study wrote, "
                         "for example runs/laptop")
    manifest = read_manifest(folder / "responses")
    if manifest is None:
        raise StudyError(f"{shown(folder)} has no finished answers to compare; run notebook "
                         "04_best_of_n there first (python -m lib.study), or name another run "
                         "folder")
    _check_written(folder / "responses", manifest["outputs"])
    try:
        return Study(build(Profile, _profile(manifest["parameters"])), folder.absolute())
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{shown(folder)} was made by a version of this project whose settings "
                         f"cannot be read any more ({error}); make the run again") from None


def _check_written(folder: Path, outputs: Mapping[str, str]) -> None:
    """Raise StudyError for pools or picks that were cut, edited or lost since."""
    for name, digest in outputs.items():
        path = folder / name
        if name.startswith(READ) and not (path.exists() and sha256_of(path) == digest):
            raise StudyError(f"{shown(path)} is not the file that the run wrote; make the answers "
                             "again (python -m lib.study --only 04 --force), or take another copy")


def _profile(recorded: Row) -> Mapping[str, Any]:
    """A profile's values from the stage's parameters; what a newer version lacks is left out."""
    default = Profile()
    sections = {name: _known(recorded[name], getattr(default, name)) for name in SECTIONS}
    return {"seed": recorded["seed"], **sections,
            "evaluation": _known(recorded, default.evaluation)}


def _known(values: Row, section: Any) -> Row:
    return {field.name: values[field.name] for field in fields(section) if field.name in values}
