"""A run folder and its stages: a stage runs once, resumes after an interruption, then is skipped.

A stage is a folder (`data`, `sft`, `dpo`, ...) whose manifest.json is written last. With equal
parameters and inputs the stage is skipped, with changed inputs it runs again. With other parameters
it stops, so that one run folder never mixes two studies. One process at a time runs a stage.
"""

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from yaml import YAMLError

from lib.runtime.devices import Device, choose_device, release_memory
from lib.runtime.errors import cells_so_far
from lib.runtime.files import (
    Row,
    folder_aside,
    read_json,
    remove_folder,
    remove_parts,
    shown,
    told_if_full,
    write_json,
)
from lib.runtime.lock import HeldError, held
from lib.runtime.manifest import (
    dotted,
    hash_outputs,
    outputs_hash,
    read_manifest,
    write_manifest,
)
from lib.runtime.parameters import misspelt
from lib.runtime.places import begin_at_the_project, typed_path
from lib.runtime.progress import duration, say
from lib.runtime.typed import flag, load_yaml
from lib.study.profiles import Profile, ProfileError, load_profile, parse_setting
from lib.study.stages.table import STAGES

MODEL_CARD = "README.md"  # beside a model, of its own run's results; no part of its stage


class StudyError(ValueError):
    """A run that has to stop; the text is one sentence."""


@dataclass(frozen=True)
class Study:
    """A profile bound to a run folder."""

    profile: Profile
    folder: Path
    force: bool = False
    from_run: Path | None = None  # another run folder, whose equal stages are copied

    def path(self, *parts: str) -> Path:
        """A path inside the run folder."""
        return self.folder.joinpath(*parts)

    def view(self, *parts: str) -> Path:
        """A path for what shows the run and is no part of it; elsewhere if the run is read-only."""
        if not self.read_only:
            return self.path(*parts)
        return Path(tempfile.gettempdir(), f"{self.folder.name}_read_only").joinpath(*parts)

    @property
    def read_only(self) -> bool:
        """Whether the run folder is there and cannot be written to."""
        return self.folder.exists() and not os.access(self.folder, os.W_OK)

    @property
    def device(self) -> Device:
        """Device and compute precision of this run's models."""
        return choose_device(self.profile.model.device, self.profile.model.precision)


def open_study(profile: str = "laptop", run: str = "", settings: Mapping[str, Any] | None = None,
               force: bool = False, from_run: str = "", **knobs: Any) -> Study:
    """Check profile and settings, choose the run folder and print the device: a notebook's start.

    settings: dotted keys, as in `--set`. from_run: another run folder, from which every finished
    stage with equal settings and inputs is copied instead of made. knobs: a notebook's own
    parameters with `__` for the dot (`dpo__beta=0.2`); None keeps the profile's value. Raises
    ProfileError, and StudyError for a parameter of papermill that the notebook does not have and
    for a `from_run` that is no folder.
    """
    if unknown := misspelt(cells_so_far()):
        raise StudyError(unknown)
    if cells_so_far():
        begin_at_the_project()
    given = {key.replace("__", "."): value for key, value in knobs.items() if value is not None}
    chosen = load_profile(str(profile), {**_settings(settings), **given})
    run, from_run, force = _as_text(run), _as_text(from_run), _flag(force)
    folder = run or str(Path("runs", chosen.name))
    source = typed_path(from_run) if from_run else None
    if source and not source.is_dir():
        raise StudyError(f"from_run (--from-run) is {from_run!r}, and there is no such run folder; "
                         "give one that a study wrote, for example runs/laptop")
    study = Study(chosen, typed_path(folder), force, source)
    try:
        say(f"profile {chosen.name}, run folder {folder}, {study.device.reason}")
    except ValueError as error:
        raise ProfileError(f"model.{error}") from None
    if study.read_only:
        say(f"{folder} is read-only: finished stages are shown, pages and figures go to "
            f"{study.view()}, and nothing can be made")
    return study


def _settings(given: Any) -> dict[str, Any]:
    """A notebook's settings; papermill's `-p settings` gives a text: JSON, YAML or `key=value`."""
    if isinstance(given, str) and "=" in given and not given.lstrip().startswith("{"):
        return dict([parse_setting(given)])
    try:
        values = load_yaml(given) if isinstance(given, str) else given
    except YAMLError:
        values = given
    if not isinstance(values or {}, Mapping):
        raise StudyError(f"settings is {given!r}; write it as {{\"dpo.beta\": 0.2}}")
    return dict(values or {})


def _as_text(value: Any) -> str:
    """A folder's name, which papermill turns into a number where it looks like one."""
    return "" if value is None else str(value)


def _flag(force: Any) -> bool:
    try:
        return flag(force, "force")
    except ValueError as error:
        raise StudyError(str(error)) from None


def run_stage(study: Study, name: str, parameters: Mapping[str, Any], outputs: Sequence[str],
              work: Callable[[Path], object], inputs: Mapping[str, str] | None = None,
              says: bool = True) -> Path:
    """Call `work(folder)` unless the finished stage has equal parameters and inputs; its folder.

    outputs: names in the folder that must exist. inputs: name -> hash of what the stage reads
    beside the stages that the table of stages names. says: tell of a finished one. Raises
    StudyError for a folder with other parameters (without `force`), and for an input stage that is
    not finished.
    """
    stages = stage_inputs(study, name) if name in STAGES else {}
    made_from = {"parameters": _plain({"seed": study.profile.seed, **parameters}),
                 "inputs": {**stages, **(inputs or {})}}
    folder = study.path(name)
    if _is_finished(study, folder, made_from, outputs, says):
        return folder
    try:
        with held(study.path(".locks", f"{name}.lock")), told_if_full(folder):
            if not (_is_finished(study, folder, made_from, outputs, says)  # by now
                    or _is_copied(study, folder, made_from, outputs)):
                _make(study, folder, made_from, outputs, work)
    except HeldError as error:
        raise StudyError(f"{shown(folder)} is being made: {error}; wait until it has ended, or "
                         "choose another run folder") from None
    return folder


def _is_finished(study: Study, folder: Path, made_from: Row, outputs: Sequence[str],
                 says: bool) -> bool:
    """Whether the finished stage can be used; raises StudyError for other parameters."""
    manifest = None if study.force else read_manifest(folder)
    if manifest and manifest["parameters"] != made_from["parameters"]:
        raise StudyError(f"{shown(folder)} was made "
                         f"{_difference(manifest['parameters'], made_from['parameters'])}; choose "
                         "another run folder, or force=True (--force) to replace it")
    finished = bool(manifest and _same_inputs(study, manifest, made_from)) and all(
        (folder / output).exists() for output in outputs)
    if finished and says:
        say(f"{folder.name}: found {shown(folder / 'manifest.json')}, skipped; force=True (or "
            "--force) makes it again")
    return finished


def _same_inputs(study: Study, manifest: Row, made_from: Row) -> bool:
    """Whether a stage has these inputs; a read-only run is shown as another version made it."""
    known, now = manifest["inputs"], made_from["inputs"]
    return known == now or study.read_only and _changed(known, now) == "code"


def _is_copied(study: Study, folder: Path, made_from: Row, outputs: Sequence[str]) -> bool:
    """Whether the run to take from has this very stage; copies it, or says why not."""
    if study.from_run is None or study.force:
        return False
    source = study.from_run / folder.relative_to(study.folder)
    manifest = read_manifest(source)
    if reason := _not_taken(source, manifest, made_from, outputs):
        say(f"{folder.name}: not copied from {shown(study.from_run)}, {reason}; made here")
        return False
    assert manifest  # or there was a reason
    say(f"{folder.name}: copied from {shown(source)}, where settings and inputs are the same; "
        f"made there on {manifest['device']} in {manifest['dtype']}, in "
        f"{duration(manifest['seconds'])}")
    with folder_aside(folder) as aside:
        copied = shutil.copytree(source, aside / folder.name,
                                 ignore=shutil.ignore_patterns(MODEL_CARD))
        remove_folder(folder)
        copied.rename(folder)
    return True


def _not_taken(source: Path, manifest: Row | None, made_from: Row, outputs: Sequence[str]) -> str:
    """Why a stage of another run is not this one; empty if it is."""
    if manifest is None:
        return "which has not finished it"
    if manifest["parameters"] != made_from["parameters"]:
        return f"which made it {_difference(manifest['parameters'], made_from['parameters'])}"
    if manifest["inputs"] != made_from["inputs"]:
        return f"which made it from another {_changed(manifest['inputs'], made_from['inputs'])}"
    named = [source / name for name in manifest["outputs"]]
    if not all(path.exists() for path in (*named, *(source / output for output in outputs))) or \
            hash_outputs(source, named) != manifest["outputs"]:
        return "whose files are no longer those that its manifest names"
    return ""


def _make(study: Study, folder: Path, made_from: Row, outputs: Sequence[str],
          work: Callable[[Path], object]) -> None:
    if reason := _replaced_because(study, folder, made_from):
        say(f"{folder.name}: {reason}")
        remove_folder(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    remove_parts(folder)
    write_json(folder / "begun.json", made_from)
    started = time.time()
    work(folder)
    gc.collect()
    release_memory()
    write_manifest(folder, **made_from, outputs=[folder / output for output in outputs],
                   started=started, device=study.device)


def _replaced_because(study: Study, folder: Path, made_from: Row) -> str:
    """Why the folder's content is replaced; empty if work begins or resumes."""
    manifest, begun = read_manifest(folder), folder / "begun.json"
    if study.force:
        return "made again, because force is set" if folder.exists() else ""
    if manifest:
        return f"made again, because {_changed(manifest['inputs'], made_from['inputs'])} changed"
    known = read_json(begun) if begun.exists() else made_from
    if known["parameters"] != made_from["parameters"]:
        return (f"partial work {_difference(known['parameters'], made_from['parameters'])} is "
                "replaced, because it never finished")
    if known["inputs"] != made_from["inputs"]:
        changed = _changed(known["inputs"], made_from["inputs"])
        return f"partial work is replaced, because {changed} changed"
    return ""


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(names) or "an output was missing, so something"


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In which settings two runs of a stage differ; a version of lib may know other settings.

    Settings of one run alone are named where no common one differs: a loss has its own.
    """
    old, new = dotted(before), dotted(now)
    parts = [f"{key}={old[key]!r} (now {new[key]!r})" for key in sorted(old.keys() & new.keys())
             if old[key] != new[key]]
    unknown = sorted(old.keys() ^ new.keys())
    if unknown and not parts:
        return (f"by another version of this project, whose settings differ in {unknown[0]}"
                + (f" and {len(unknown) - 1} more" if unknown[1:] else ""))
    return f"with {'; '.join(parts[:4])}" + (
        f" and {len(parts) - 4} more" if len(parts) > 4 else "")


def _plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists, as JSON returns them."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def stage_hash(study: Study, name: str) -> str:
    """Hash of a finished stage's outputs; a StudyError names the notebook that makes it."""
    digest = outputs_hash(study.path(name))
    if digest == "absent":
        copies = " with this run and from_run, which copies it," if study.from_run else ""
        raise StudyError(f"{shown(study.path(name))} is not finished; run notebook "
                         f"{STAGES[name].notebook}{copies} first (or python -m lib.study)")
    return digest


def stage_inputs(study: Study, name: str) -> dict[str, str]:
    """Hashes of the stages that stage `name` reads, by the table of stages.

    Raises StudyError if a necessary one is not finished.
    """
    stage = STAGES[name]
    made = [other for other in stage.where_made if outputs_hash(study.path(other)) != "absent"]
    return {other: stage_hash(study, other) for other in (*stage.inputs, *made)}
