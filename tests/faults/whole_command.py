"""The `study` command on two seeds of a small study, its ways to end, how two runs differ."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lib import ROOT
from lib.runtime.files import read_json
from tests.faults.whole_study import differences, timeless

SEEDS = 2
OPTIONS = ["--profile", "smoke", "--seeds", str(SEEDS), "--set", "beyond.arms=[raft]",
           "evaluation.resamples=200"]
KEPT = "interrupted; finished stages, notebooks and checkpoints are kept"
KERNEL = "its kernel was killed"
PATIENCE = 280  # seconds for the whole command
PAGES = re.compile(r"0\d_\w+\.(ipynb|html)")
DRAWN = (".html", ".svg")
NAMES = re.compile(  # that plotly gives to a page's figure, a picture and its curves
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=\bdefs-)\w{6}|(?<= trace)[0-9a-f]{6}\b")
UNSAID = {"key", "answers", "rng"}  # hashes of times, and the state of a generator of no draw
Sign = Callable[[Path, str], bool]  # of a run folder, and what its command has said


@dataclass(frozen=True)
class Command:
    """Where runs lie that are compared."""

    folder: Path

    def start(self, run: Path) -> subprocess.Popen:
        """The command as a shell's job: a process group of its own."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
                                    "HF_HUB_OFFLINE": "1"}
        line = [sys.executable, "-m", "lib.study", "--run", str(run), *OPTIONS]
        with self.spoken(run).open("w") as output:
            return subprocess.Popen(line, env=environment, stdout=output, stderr=output,
                                    start_new_session=True, preexec_fn=hear_ctrl_c)

    def finish(self, run: Path) -> str:
        """Run it to its end; what went wrong, or nothing."""
        status = self.start(run).wait(timeout=PATIENCE)
        return f"it ended with {status}: {self.said(run)[-300:]}" if status else ""

    def said(self, run: Path) -> str:
        """What the last start has said."""
        return self.spoken(run).read_text("utf-8")

    def spoken(self, run: Path) -> Path:
        return self.folder / f"{run.name}.txt"


def hear_ctrl_c() -> None:
    """A shell has its background jobs ignore Ctrl-C, and they their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def says(text: str, times: int = 1) -> Sign:
    return lambda run, said: said.count(text) >= times


def there(pattern: str) -> Sign:
    return lambda run, said: any(run.glob(pattern))


def half_a_notebook(run: Path, said: str) -> bool:
    """Whether papermill is writing one at this moment; it does so in place."""
    newest = max(run.glob("**/0*.ipynb"), key=lambda path: path.stat().st_mtime, default=None)
    return newest is not None and not newest.read_bytes().endswith(b"}")


MOMENTS: dict[str, tuple[Sign, float]] = {  # its sign, and seconds from it of which some are waited
    "the plan": (says("run folder"), 5),
    **{f"notebook {number}": (says(f"notebook {number} of 7"), 8) for number in range(1, 4)},
    "half a notebook": (half_a_notebook, 0),
    "notebook 4": (says("notebook 4 of 7"), 8),
    "half a page": (there("**/.*.html.*"), 0),
    "notebook 5": (says("notebook 5 of 7"), 8),
    "results.json": (there("results.json"), 0),
    "figures": (there("figures/*"), 2),
    "notebook 6": (says("notebook 6 of 7"), 8),
    "notebook 7": (says("notebook 7 of 7"), 8),
    "between seeds": (says("notebook 1 of 7", SEEDS), 1),
    **{f"notebook {number} of the other seed": (says(f"notebook {number} of 7", SEEDS), 8)
       for number in range(2, 8)},
    "seeds.json": (there("seeds.json"), 1),
    "the summary": (says("main result"), 0),
}


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kernels(pid: int) -> list[psutil.Process]:
    return [each for each in tree(pid) if "ipykernel_launcher" in " ".join(cmdline(each))]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def kill_kernel(pid: int) -> None:
    for each in kernels(pid) or tree(pid)[:1]:
        each.kill()


def kill_everything(pid: int) -> None:
    for each in tree(pid):
        each.kill()


# how it is ended; its exit status and a part of what it says last
WAYS: dict[str, tuple[Callable[[int], None], int, str]] = {
    "Ctrl-C": (lambda pid: os.killpg(pid, signal.SIGINT), 130, KEPT),
    "SIGTERM": (lambda pid: os.kill(pid, signal.SIGTERM), 143, KEPT),
    "a closed terminal": (lambda pid: os.killpg(pid, signal.SIGHUP), 129, KEPT),
    "SIGKILL": (lambda pid: os.kill(pid, signal.SIGKILL), -9, ""),
    "SIGKILL of the kernel": (kill_kernel, 2, KERNEL),
    "SIGKILL of the group": (lambda pid: os.killpg(pid, signal.SIGKILL), -9, ""),
    "SIGKILL of all": (kill_everything, -9, ""),
}


def unlike(run: Path, other: Path) -> list[str]:
    """Files that differ but for times and names, and pages of the other run that are not whole."""
    found = [name for name in differences(run, other) if not alike(run / name, other / name)]
    return found + [str(path.relative_to(other)) for path in other.glob("**/0*.ipynb")
                    if not is_whole(path, run / path.relative_to(other))]


def alike(one: Path, other: Path) -> bool:
    """Whether two files say the same, whatever bytes differ; notebooks and pages are there."""
    if not (one.exists() and other.exists()) or one.suffix not in (".json", *DRAWN, ".ipynb"):
        return False
    if PAGES.fullmatch(one.name):
        return True
    if one.name == "notebooks.json":
        return read_json(one).keys() == read_json(other).keys()
    if one.suffix == ".json":
        return bare(timeless(read_json(one))) == bare(timeless(read_json(other)))
    return nameless(one.read_text("utf-8")) == nameless(other.read_text("utf-8"))


def bare(value: Any) -> Any:
    """JSON without what depends on times, or on what nothing draws from."""
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items() if key not in UNSAID}
    return value


def nameless(drawn: str) -> str:
    """A drawing without the random names of its parts."""
    for name in set(NAMES.findall(drawn)):
        drawn = drawn.replace(name, "")
    return drawn


def is_whole(notebook: Path, expected: Path) -> bool:
    """Whether every cell has run, with as many pictures and tables as in another run."""
    cells, others = ([cell for cell in read_json(path)["cells"] if cell["cell_type"] == "code"]
                     for path in (notebook, expected))
    page = notebook.with_suffix(".html").read_text("utf-8").rstrip()
    return page.endswith("</html>") and all(
        cell["metadata"]["papermill"]["status"] == "completed" for cell in cells) and [
        displays(cell) for cell in cells] == [displays(cell) for cell in others]


def displays(cell: dict) -> int:
    return sum(output["output_type"] == "display_data" for output in cell["outputs"])
