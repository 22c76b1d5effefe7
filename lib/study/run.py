"""A run folder and its stages: made once, skipped when nothing changed, resumed when cut short.

A stage is a folder (`data`, `sft`, `dpo`, `rewards`, `responses`, ...) with a manifest.json that is
written last. Equal parameters and inputs mean that there is nothing to do; other parameters are
refused, so that one run folder never mixes two studies; changed inputs make it again. One process
at a time makes a stage.
"""

import gc
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib import ROOT
from lib.runtime.devices import Device, choose_device, release_memory
from lib.runtime.errors import cells_so_far, show_sentences
from lib.runtime.files import read_json, shown, write_json
from lib.runtime.lock import HeldError, held
from lib.runtime.manifest import dotted, outputs_hash, read_manifest, write_manifest
from lib.runtime.parameters import misspelt
from lib.runtime.progress import say
from lib.study.profiles import Profile, ProfileError, load_profile
from lib.study.stages.table import STAGES


class StudyError(ValueError):
    """A run that cannot go on, said in one sentence."""


@dataclass(frozen=True)
class Study:
    """A profile bound to a run folder."""

    profile: Profile
    folder: Path
    force: bool = False

    def path(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.folder.joinpath(*parts)

    @property
    def device(self) -> Device:
        """Device and compute precision of this run's models."""
        return choose_device(self.profile.model.device, self.profile.model.precision)


def open_study(profile: str = "laptop", run: str = "", settings: Mapping[str, Any] | None = None,
               force: bool = False, **knobs: Any) -> Study:
    """A notebook's first call: profile and settings checked, run folder named, device printed.

    settings: dotted keys, as `--set` gives them. knobs: a notebook's own parameters with `__` for
    the dot (`dpo__beta=0.2`); None keeps the profile's value. Raises ProfileError, and StudyError
    for a parameter that papermill set and the notebook does not have.
    """
    show_sentences()
    if unknown := misspelt(cells_so_far()):
        raise StudyError(unknown)
    given = {key.replace("__", "."): value for key, value in knobs.items() if value is not None}
    chosen = load_profile(profile, {**(settings or {}), **given})
    folder = Path(run) if run else Path("runs") / chosen.name
    study = Study(chosen, folder if folder.is_absolute() else ROOT / folder, force)
    try:
        say(f"profile {chosen.name}, run folder {folder}, {study.device.reason}")
    except ValueError as error:
        raise ProfileError(f"model.{error}") from None
    return study


def run_stage(study: Study, name: str, parameters: Mapping[str, Any], inputs: Mapping[str, str],
              outputs: list[str], work: Callable[[Path], None]) -> Path:
    """Do `work(folder)` unless the stage is there with equal parameters and inputs; its folder.

    inputs: name -> hash of what the stage reads. outputs: names inside the folder that must exist.
    Raises StudyError when the folder was made from other parameters and `force` is off.
    """
    folder = study.path(name)
    parameters, inputs = _plain({"seed": study.profile.seed, **parameters}), dict(inputs)
    if _is_there(study, folder, parameters, inputs, outputs):
        return folder
    try:
        with held(study.path(".locks", f"{name}.lock")):
            if not _is_there(study, folder, parameters, inputs, outputs):  # by now
                _make(study, folder, parameters, inputs, outputs, work)
    except HeldError as error:
        raise StudyError(f"{shown(folder)} is being made: {error}; wait until it has ended, or "
                         "choose another run folder") from None
    return folder


def _is_there(study: Study, folder: Path, parameters: Mapping[str, Any],
              inputs: Mapping[str, str], outputs: list[str]) -> bool:
    """Whether the finished stage can be used; refuses a folder made with other parameters."""
    manifest = None if study.force else read_manifest(folder)
    if manifest and manifest["parameters"] != parameters:
        raise StudyError(f"{shown(folder)} was made with "
                         f"{_differences(manifest['parameters'], parameters)}; choose another run "
                         "folder, or force=True (--force) to replace it")
    there = bool(manifest) and manifest["inputs"] == inputs and all(
        (folder / output).exists() for output in outputs)
    if there:
        say(f"{folder.name}: found {shown(folder / 'manifest.json')}, skipped; force=True (or "
            "--force) makes it again")
    return there


def _make(study: Study, folder: Path, parameters: Mapping[str, Any], inputs: Mapping[str, str],
          outputs: list[str], work: Callable[[Path], None]) -> None:
    if reason := _not_resumable(study, folder, parameters, inputs):
        say(f"{folder.name}: {reason}")
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    write_json(folder / "begun.json", {"parameters": parameters, "inputs": inputs})
    started = time.time()
    work(folder)
    gc.collect()
    release_memory()
    write_manifest(folder, parameters, inputs, [folder / output for output in outputs], started,
                   study.device)


def _not_resumable(study: Study, folder: Path, parameters: Mapping[str, Any],
                   inputs: Mapping[str, str]) -> str:
    """Why what lies in the folder is replaced; empty where work goes on with it, or begins."""
    manifest, begun = read_manifest(folder), folder / "begun.json"
    if study.force:
        return "made again, as asked" if folder.exists() else ""
    if manifest:
        return f"made again, because {_changed(manifest['inputs'], inputs)} changed"
    known = read_json(begun) if begun.exists() else None
    if known and known["parameters"] != parameters:
        return (f"partial work with {_differences(known['parameters'], parameters)} is replaced, "
                "because it never finished")
    if known and known["inputs"] != inputs:
        return f"partial work is replaced, because {_changed(known['inputs'], inputs)} changed"
    return ""


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(names) or "an output was missing, so something"


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = dotted(before), dotted(now)
    parts = [f"{key}={old.get(key)!r} (now {new.get(key)!r})"
             for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "; ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Dataclasses as dicts and tuples as lists, as they come back from JSON."""
    def plain(value: Any) -> Any:
        """One value, and all that it holds."""
        if hasattr(value, "__dataclass_fields__"):
            value = asdict(value)
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value
    return {key: plain(value) for key, value in parameters.items()}


def stage_hash(study: Study, name: str) -> str:
    """Hash of a finished stage's outputs; raises StudyError naming the notebook that makes it."""
    digest = outputs_hash(study.path(name))
    if digest == "absent":
        raise StudyError(f"{shown(study.path(name))} is not finished; run notebook "
                         f"{STAGES[name].notebook} first (or python -m lib.study)")
    return digest


def stage_inputs(study: Study, name: str) -> dict[str, str]:
    """Hashes of the stages that stage `name` reads, as the table of stages has them.

    Raises StudyError where one that it cannot do without is not finished.
    """
    stage = STAGES[name]
    there = [other for other in stage.where_made if outputs_hash(study.path(other)) != "absent"]
    return {other: stage_hash(study, other) for other in (*stage.inputs, *there)}
