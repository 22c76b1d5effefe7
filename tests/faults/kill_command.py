"""Kill `python -m lib.study --profile smoke` at random moments and compare its results.

    python -m tests.faults.kill_command --kills 9

In turn a kill meets the kernel of the notebook that runs, as a system does that lacks memory; the
command alone; and all processes at once, as a loss of power does. After the first the command must
end with one sentence. The same command is started again at once after each kill, and at last to its
end; its stages and exports must then be those of an uninterrupted run.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from lib import ROOT
from tests.faults.whole_study import differences

WAYS = ("kernel", "command", "all processes")
SECONDS = (6.0, 20.0)  # from the start of the command to a kill
SENTENCE = "because its kernel was killed"
SHOWN = (".ipynb", ".html", ".png", ".svg", "notebooks.json")  # pages, which hold times


def main() -> int:
    """Print the kills by their way and the faults; the exit status is 1 after any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, faults = kill_and_compare(Path(folder), options.kills, options.seed)
    print(f"{counts.total()} kills, seed {options.seed}: "
          + ", ".join(f"{count} of {way}" for way, count in counts.items()))
    print("\n".join(faults) or "no fault")
    return 1 if faults else 0


def kill_and_compare(folder: Path, kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kills by their way, and what was wrong."""
    draw, whole, cut = random.Random(seed), folder / "whole", folder / "cut"
    counts: Counter[str] = Counter()
    finish(whole)
    faults = []
    for number in range(kills):
        way = WAYS[number % len(WAYS)]
        command = start(cut)
        time.sleep(draw.uniform(*SECONDS))
        if killed(command, way):
            counts[way] += 1
            said = spoken(cut).read_text("utf-8").strip().splitlines()[-1]
            if way == "kernel" and SENTENCE not in said:
                faults.append(f"after its kernel was killed the command ended with {said}")
    finish(cut)
    return counts, faults + [f"{name} differs" for name in differences(whole, cut)
                             if not name.endswith(SHOWN)]


def killed(command: subprocess.Popen, way: str) -> bool:
    """Kill a part of the command, or all; whether it was there to be killed."""
    children = psutil.Process(command.pid).children(recursive=True)
    kernels = [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]
    if command.poll() is not None or (way == "kernel" and not kernels):
        return stop(command, children)
    for process in kernels if way == "kernel" else children if way == "all processes" else []:
        process.kill()
    if way != "kernel":
        command.kill()
    command.wait(timeout=60)
    return True


def stop(command: subprocess.Popen, children: list[psutil.Process]) -> bool:
    """End what is left; False, because no kill was counted."""
    for process in children:
        process.kill()
    command.kill()
    command.wait()
    return False


def start(run: Path) -> subprocess.Popen:
    with spoken(run).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "lib.study", "--profile", "smoke", "--run", str(run)], cwd=ROOT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=output, stderr=output)


def spoken(run: Path) -> Path:
    """The file of what the commands of a run have said."""
    return run.with_suffix(".txt")


def finish(run: Path) -> None:
    """Run the command to its end, which it must reach."""
    if status := start(run).wait():
        raise SystemExit(f"the command ended with {status}: {spoken(run).read_text()[-1500:]}")


if __name__ == "__main__":
    sys.exit(main())
