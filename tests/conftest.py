"""No test asks a hub or sends telemetry; set before anything imports the libraries that would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _no_headless_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner marks its process as headless; no test leaves that mark to the next."""
    monkeypatch.delenv("STUDY_HEADLESS", raising=False)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished smoke study; tests that would change it take a copy."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-m", "lib.study", "--profile", "smoke", "--run",
                           str(folder)], cwd=ROOT, env=environment, text=True, capture_output=True,
                          timeout=800, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder
