"""No test asks a hub or sends telemetry; set before anything imports the libraries that would.

`make test` deals the files of tests to a few processes; each computes on one thread. The browser's
tests follow in one process, and find in STUDY_TESTS_FOLDER what the first ones made.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from lib import ROOT

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
SHARES_CORES = "PYTEST_XDIST_WORKER" in os.environ
if SHARES_CORES:
    os.environ["OMP_NUM_THREADS"] = "1"

# The files that take longest, longest first: begun last, one would keep the other cores waiting.
# The first of them makes the smoke study, which others read.
LONGEST = ("notebooks/test_run.py", "analysis/comparisons/test_all_pairs_coverage.py",
           "study/planning/test_memory.py", "study/test_paper.py", "browser/test_lab.py",
           "inference/test_sampling.py", "browser/test_study.py",
           "training/parallel/test_faults.py", "training/parallel/test_processes.py",
           "study/pools/test_split.py", "study/stages/test_results.py", "faults/test_kill.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of quick tests come first, then the slow ones.

    All processes have to find one order, also of parameters that came from a set.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (item.path in slow, places.get(item.path, len(LONGEST)),
                                 item.path, item.location[1] or 0, item.name))


def pytest_collection_finish() -> None:
    """What is imported stays, so that no collection of garbage goes through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_headless_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner marks its process as headless; no test leaves that mark to the next."""
    monkeypatch.delenv("STUDY_HEADLESS", raising=False)


@pytest.fixture(autouse=True)
def _same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of equal digits keep their threads, whatever else the machine does."""
    monkeypatch.setattr("lib.runtime.threads.WATCH.look", lambda: None)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`made_once(name, make)`: a folder that `make` fills once for all processes of `make test`."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if SHARES_CORES else root  # each process has a folder in the session's
    root = Path(os.environ.get("STUDY_TESTS_FOLDER", root))

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder
    return folder_of


@pytest.fixture(scope="session")
def smoke_run(made_once: Callable[..., Path]) -> Path:
    """The folder of one finished smoke study; tests that would change it take a copy."""
    return made_once("smoke", _run_smoke_study)


def _run_smoke_study(folder: Path) -> None:
    environment = {"OMP_NUM_THREADS": "2"} | os.environ
    done = subprocess.run([sys.executable, "-m", "lib.study", "--profile", "smoke", "--run",
                           str(folder)], cwd=ROOT, env=environment, text=True, capture_output=True,
                          timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
