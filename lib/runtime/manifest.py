"""manifest.json: a stage's parameters, inputs, outputs, environment and time.

Parameters and input hashes decide whether the stage can be skipped; the rest is provenance.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import ROOT
from lib.runtime.devices import Device, environment, peak_memory_gb
from lib.runtime.files import FileError, read_json, sha256_of, sha256_of_value, shown, write_json

SOURCES = (".py", ".js", ".css", ".jinja", ".html")


def git_state() -> dict[str, str | bool | None]:
    """Commit and whether the tree has uncommitted changes; None outside a git checkout."""
    def git(*arguments: str) -> str | None:
        """The output of a git command; None if it fails, or if ROOT is not the checkout itself."""
        if not (ROOT / ".git").exists():  # installed, perhaps inside of somebody else's checkout
            return None
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True,
                                  encoding="utf-8", errors="replace", check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()
    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def hash_outputs(folder: Path, outputs: list[Path]) -> dict[str, str]:
    """SHA-256 by path relative to `folder`, of files and of all files in folders."""
    files = [file for path in outputs
             for file in (sorted(p for p in path.rglob("*") if p.is_file())
                          if path.is_dir() else [path])]
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def code_hash(*rooms: str) -> str:
    """Hash of the source code of rooms of lib, by default of all."""
    folders = [ROOT / "lib" / room for room in rooms] or [ROOT / "lib"]
    files = [file for folder in folders for file in sorted(folder.rglob("*"))
             if file.suffix in SOURCES]
    return sha256_of_value({file.relative_to(ROOT).as_posix(): sha256_of(file) for file in files})


def write_manifest(folder: Path, parameters: Mapping[str, Any], inputs: Mapping[str, str],
                   outputs: list[Path], started: float, device: Device | None = None) -> None:
    """Write `folder`/manifest.json; `started` is `time.time()` from before the work."""
    write_json(folder / "manifest.json", {
        "parameters": dict(parameters), "inputs": dict(inputs),
        "outputs": hash_outputs(folder, outputs),
        "seed": parameters.get("seed"), "git": git_state(), "environment": environment(),
        "device": str(device.device) if device else None,
        "dtype": str(device.dtype).removeprefix("torch.") if device else None,
        "device_reason": device.reason if device else None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "peak_memory_gb": round(peak_memory_gb(device.device if device else None), 3)})


def dotted(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as one level of dotted names, as in `--set`."""
    flat: dict[str, Any] = {}
    for key, value in parameters.items():
        nested = isinstance(value, Mapping)
        flat |= dotted(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage, or None."""
    path = folder / "manifest.json"
    return read_json(path) if path.exists() else None


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a finished stage; raises FileError for a folder without one."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileError(f"{shown(folder)} has no manifest.json, so its stage is not finished; run "
                        "it again")
    return manifest


def outputs_hash(folder: Path) -> str:
    """One hash over a finished stage's outputs, from its manifest; "absent" without one."""
    manifest = read_manifest(folder)
    return sha256_of_value(manifest["outputs"]) if manifest else "absent"
