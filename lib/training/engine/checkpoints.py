"""Checkpoints: a run that resumes from one ends with the same bits as one that never stopped.

A checkpoint is a folder `step-N` with the float32 masters and AdamW's moments (safetensors) and
`checkpoint.json`: step, random state, loss scale, and the SHA-256 of each file. It is written
under a temporary name and renamed, so a killed process leaves the previous one whole; hashes tell
a damaged one, and the run resumes from the one before.

The files hold whole tensors, so that any number of processes can resume, as copies or as shards.
Rank 0 writes; it needs host memory for 12 bytes a trained parameter.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lib.runtime.files import FileError, Row, sha256_of, write_json
from lib.runtime.progress import say
from lib.training.engine.optimizer import LossScale, MasterWeights
from lib.training.processes import ALONE, Processes

FILES = ("masters.safetensors", "moments.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: its folder, and how many optimizer steps it has behind it."""

    folder: Path
    step: int


def save_checkpoint(folder: Path, step: int, key: str, weights: MasterWeights,
                    optimizer: torch.optim.Optimizer, scale: LossScale, counters: Row,
                    keep: int, processes: Processes = ALONE) -> None:
    """Write `folder/step-N` whole or not at all and drop all but the newest `keep`.

    key: hash of what the run is made from (data, settings, model). All processes call it, rank 0
    writes. Raises FileError when the disk is full or read-only.
    """
    masters = processes.gathered(weights.masters)
    moments = processes.gathered(_moments(weights, optimizer))
    if not processes.main:
        return
    target, temporary = folder / f"step-{step}", folder / f".step-{step}.partial"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(masters, temporary / FILES[0])
        save_file(moments, temporary / FILES[1])
        write_json(temporary / "checkpoint.json", {
            "step": step, "key": key, "scale": scale.scale, "good_steps": scale.good_steps,
            "counters": counters, "rng": torch.get_rng_state().tolist(),
            "sha256": {name: sha256_of(temporary / name) for name in FILES}})
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise FileError(f"cannot write checkpoint {target}: {error}; the previous one is intact, "
                        "free some space and start again") from error
    prune_checkpoints(folder, keep)


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for old in _folders(folder)[keep:]:
        shutil.rmtree(old.folder)


def _folders(folder: Path) -> list[Checkpoint]:
    """Checkpoints by name, newest first."""
    found = [Checkpoint(path, int(path.name.removeprefix("step-")))
             for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def _moments(weights: MasterWeights, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state by parameter name: `<name>|exp_avg`, `<name>|exp_avg_sq`, `<name>|step`."""
    return {f"{name}|{kind}": value
            for name, master in weights.masters.items()
            for kind, value in optimizer.state[master].items()}


def latest_checkpoint(folder: Path, key: str) -> Checkpoint | None:
    """The newest checkpoint of this key whose files are whole; prints why it skips others."""
    for checkpoint in _folders(folder):
        trouble = _trouble(checkpoint.folder, key)
        if trouble is None:
            return checkpoint
        say(f"{checkpoint.folder}: {trouble}; trying the one before")
    return None


def _trouble(folder: Path, key: str) -> str | None:
    """Why a checkpoint folder cannot be used, or None."""
    try:
        description = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        if description["key"] != key:
            return "made from other data, settings or model"
        damaged = [n for n in FILES if sha256_of(folder / n) != description["sha256"][n]]
    except (OSError, ValueError, KeyError) as error:
        return f"not readable ({error})"
    return f"{damaged[0]} is damaged" if damaged else None


def load_checkpoint(checkpoint: Checkpoint, weights: MasterWeights,
                    optimizer: torch.optim.Optimizer, scale: LossScale,
                    processes: Processes = ALONE) -> Row:
    """Put a checkpoint's state into the masters, the model, the optimizer and the generator.

    Returns the saved counters.
    """
    description = json.loads((checkpoint.folder / "checkpoint.json").read_text(encoding="utf-8"))
    saved, moments = (load_file(checkpoint.folder / name) for name in FILES)
    with torch.no_grad():
        for name, master in weights.masters.items():
            master.copy_(processes.placed_like(saved[name], master))
            optimizer.state[master] = {
                kind: (value.to(master.device) if kind == "step"  # AdamW's kernel reads it there
                       else processes.placed_like(value, master))
                for kind in ("step", "exp_avg", "exp_avg_sq")
                if (value := moments.get(f"{name}|{kind}")) is not None}
    weights.copy_to_model()
    scale.scale, scale.good_steps = description["scale"], description["good_steps"]
    torch.set_rng_state(torch.tensor(description["rng"], dtype=torch.uint8))
    return description["counters"]
