"""Kill a small study at random moments, again and again, and compare how it ends with a whole one.

    python -m tests.faults.kills --kills 50
    python -m tests.faults.kills --command --kills 23

The kills are dealt to the sixteen stages. Each waits until the study is at work on its stage, or on
a later one, then for a random part of the time that this stage took in the uninterrupted run, and
sends SIGKILL. The same run is started again after each, and at last to its end, where another one
begins. Every file of a run must then hold what the uninterrupted run's file holds; only times may
differ.

--command kills the command with its notebooks instead, at moments from its plan to its summary, in
turn by Ctrl-C, SIGTERM, a closed terminal and SIGKILL of the command, its kernel, its group and all
of its processes. The same command goes on at once, and no process of any may be left in the end.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from lib.runtime.files import read_json
from tests.faults.whole_command import MOMENTS, WAYS, Command, cmdline, kernels, tree, unlike
from tests.faults.whole_study import STAGES, Trial, differences, stage_at_work, trial

BETWEEN = "between stages"
MOST = 2 * len(STAGES)  # kills of one run


def main() -> int:
    """Print the kills by stage and the files that differ; the exit status is 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="store_true", help="kill the `study` command")
    parser.add_argument("--folder", type=Path, help="where the command's whole run is kept")
    options = parser.parse_args()
    if options.command:
        return main_of_command(options)
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder)) as tried:
        counts, found = kill_and_compare(tried, options.kills, options.seed)
    print(f"{counts.total()} kills, seed {options.seed}: "
          + ", ".join(f"{count} in {stage}" for stage, count in counts.items()))
    print("files that differ from the uninterrupted run: " + (", ".join(found) or "none"))
    return 1 if found else 0


def main_of_command(options: argparse.Namespace) -> int:
    """The same for the command; the exit status is 1 after any fault."""
    with tempfile.TemporaryDirectory() as folder:
        tried = Command(options.folder or Path(folder))
        counts, faults = kill_the_command(tried, options.kills, options.seed)
    print(f"{counts.total()} kills, seed {options.seed}: "
          + ", ".join(f"{count} by {way}" for way, count in counts.items()))
    print("\n".join(faults) or "no fault")
    return 1 if faults else 0


def kill_the_command(tried: Command, kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kills by their way, and the faults, a sentence each; the run that was killed ends last."""
    draw, whole, cut = random.Random(seed), tried.folder / "whole", tried.folder / f"cut{seed}"
    if fault := "" if (whole / "seeds.json").exists() else tried.finish(whole):
        raise SystemExit(fault)
    counts: Counter[str] = Counter()
    moments, ways, faults = list(MOMENTS), draw.sample(list(WAYS), len(WAYS)), list[str]()
    started: list[psutil.Process] = []
    for number in range(kills):
        moment, way = moments[number * len(moments) // kills], ways[number % len(ways)]
        faults += ended_early(tried, cut, moment, way, draw.random(), started)
        counts[way] += 1
    if left := [cmdline(each) for each in psutil.wait_procs(started, timeout=10)[1]]:
        faults.append(f"processes are left: {left}")
    if fault := tried.finish(cut):
        return counts, [*faults, fault]
    return counts, faults + [f"{name} differs" for name in unlike(whole, cut)]


def ended_early(tried: Command, run: Path, moment: str, way: str, part: float,
                started: list[psutil.Process]) -> list[str]:
    """What was wrong when the command was ended in this way after a moment's sign.

    started: gets the processes that were at work.
    """
    (sign, seconds), (end, expected, sentence) = MOMENTS[moment], WAYS[way]
    command = tried.start(run)
    while command.poll() is None and not sign(run, tried.said(run)):
        time.sleep(0.001)
    with suppress(subprocess.TimeoutExpired):
        command.wait(timeout=part * seconds)
    started += tree(command.pid)
    alone = way == "SIGKILL of the kernel" and not kernels(command.pid)
    if command.poll() is None:
        end(command.pid)
    status, said = command.wait(timeout=60), tried.said(run)
    print(f"{moment}, {way}: {status}, {said.splitlines()[-1:]}", flush=True)
    faults = []
    if status not in (expected, 0, -9 if alone else 0) or (status and sentence not in said
                                                          and not alone):
        faults.append(f"{moment}, {way} ended with {status}: {said[-300:]}")
    return faults + [f"{moment}, {way} printed a traceback: {said[-1500:]}"
                     for _ in said.split("Traceback")[1:2]]


def kill_and_compare(tried: Trial, kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kills by stage, and the files that differ at the end of a run."""
    draw, whole = random.Random(seed), tried.folder / "whole"
    finish(tried, whole)
    seconds = {stage: read_json(whole / stage / "manifest.json")["seconds"] for stage in STAGES}
    counts: Counter[str] = Counter()
    found: list[str] = []
    while counts.total() < kills:
        cut, most = tried.folder / f"cut{counts.total()}", min(MOST, kills - counts.total())
        for number in range(most):
            place = number * len(STAGES) // most
            if (stage := killed_in(tried, cut, place, draw.random(), seconds)) is None:
                break
            counts[stage] += 1
        finish(tried, cut)
        found += differences(whole, cut)
    return counts, found


def finish(tried: Trial, run: Path, last: str = "arms") -> None:
    """Run the study to its end, or up to a call, which it must reach."""
    if status := tried.finish(run, last=last):
        raise SystemExit(f"the study ended with {status}: {tried.said(run)[-1500:]}")


def killed_in(tried: Trial, run: Path, place: int, part: float,
              seconds: dict[str, float]) -> str | None:
    """Start the study and kill it in the stage at a place, or later; where, None if it ended.

    part: of the stage's seconds, after which it is killed.
    """
    started, stage = tried.start(run), None
    while started.is_alive() and stage not in STAGES[place:]:
        time.sleep(0.002)
        stage = stage_at_work(run, started.pid)
    started.join(timeout=part * seconds.get(stage or "", 0.0))
    at_work = stage_at_work(run, started.pid) or BETWEEN
    started.kill()
    started.join()
    return at_work if started.exitcode < 0 else None


if __name__ == "__main__":
    sys.exit(main())
