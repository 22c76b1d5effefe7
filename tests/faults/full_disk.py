"""Let the disk run full in every stage of a small study, give it space again, and compare.

    python -m tests.faults.full_disk

The run lies on a small file system in memory, which Linux lets root mount, and others behind
`unshare --user --map-root-user --mount`. Three times before each stage a filler leaves no byte, or
a random part of what the stage writes. The study must then end with one sentence that says so, and
leave every finished stage as it was. With space again it must end with the files of a run that
always had space.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.runtime.manifest import hash_outputs, read_manifest
from tests.faults.kills import finish
from tests.faults.whole_study import CALLS, STAGES, Trial, differences, trial

PARTS = ((0.0, 0.0), (0.05, 0.5), (0.5, 0.95))  # of what a stage writes, from which one is drawn
FURTHER = {"rewards": ("scores.sqlite",), "results": (
    "verdicts", "results.json", "chat_judge.sqlite", "exports"), "arms": ("beyond",)}
SAYS_SO = ("no space is left", "No space left", "disk is full")
SIZE = "64m"


def main() -> int:
    """Print what each stage said on a full disk; the exit status is 1 after any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder)) as tried, \
            small_disk(tried.folder / "disk") as disk:
        faults = fill_and_compare(tried, disk, list(CALLS), options.seed)
    print("\n".join(faults) or "no fault")
    return 1 if faults else 0


def fill_and_compare(tried: Trial, disk: Path, calls: list[str], seed: int = 0) -> list[str]:
    """What was wrong, a sentence each; the disk runs full in the first calls of the study."""
    draw, whole, run = random.Random(seed), tried.folder / "whole", disk / "run"
    finish(tried, whole, calls[-1])
    faults: list[str] = []
    for call in calls:
        need = sum(map(size_of, (whole / name for name in (call, *FURTHER.get(call, ())))))
        for least, most in PARTS:
            left = int(need * draw.uniform(least, most))
            with filled(disk, left):
                faults += trouble(tried, run, call, left)
        if status := tried.finish(run, call, call):
            return [*faults, f"{call}, with space again, ended with {status}: "
                             + last_line(tried, run)]
    return faults + [f"{name} differs" for name in differences(whole, run)]


def trouble(tried: Trial, run: Path, call: str, left: int) -> list[str]:
    """What a call does wrong on a disk with so many bytes left."""
    status = tried.finish(run, call, call)
    sentence = last_line(tried, run) if status else "had enough"
    print(f"{call}, {left:,} bytes left: {sentence.replace(str(run), 'run')}", flush=True)
    faults = [f"{stage} is no longer whole after {call}, {left:,} bytes left" for stage in STAGES
              if not is_whole(run / stage)]
    if status and (status != 2 or not any(words in sentence for words in SAYS_SO)):
        faults.append(f"{call}, {left:,} bytes left, ended with {status}: {sentence}")
    return faults


def is_whole(stage: Path) -> bool:
    """Whether a stage is unfinished, or has the files that its manifest names."""
    outputs = (read_manifest(stage) or {"outputs": {}})["outputs"]
    files = [stage / name for name in outputs]
    return all(file.exists() for file in files) and hash_outputs(stage, files) == outputs


def last_line(tried: Trial, run: Path) -> str:
    return tried.said(run).splitlines()[-1]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """An empty file system of 64 MB in memory; raises CalledProcessError where none is allowed."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """A disk with so many bytes left, which a file system rounds to its blocks."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - left))
    try:
        yield
    finally:
        filler.unlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
