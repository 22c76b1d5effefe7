"""Kill a small study at random moments, again and again, and compare how it ends with a whole one.

    python -m tests.faults.kills --kills 50

The kills are dealt to the sixteen stages. Each waits until the study is at work on its stage, or on
a later one, then for a random part of the time that this stage took in the uninterrupted run, and
sends SIGKILL. The same run is started again after each, and at last to its end, where another one
begins. Every file of a run must then hold what the uninterrupted run's file holds; only times may
differ.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from lib.runtime.files import read_json
from tests.faults.whole_study import STAGES, Trial, differences, stage_at_work, trial

BETWEEN = "between stages"
MOST = 2 * len(STAGES)  # kills of one run


def main() -> int:
    """Print the kills by stage and the files that differ; the exit status is 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder)) as tried:
        counts, found = kill_and_compare(tried, options.kills, options.seed)
    print(f"{counts.total()} kills, seed {options.seed}: "
          + ", ".join(f"{count} in {stage}" for stage, count in counts.items()))
    print("files that differ from the uninterrupted run: " + (", ".join(found) or "none"))
    return 1 if found else 0


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
