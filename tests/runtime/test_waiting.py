"""Threads wait briefly and then sleep wherever PyTorch computes for the study."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT, WAITING
from lib.runtime.files import read_json

NAMES = [*WAITING, "OMP_WAIT_POLICY"]
SHOW = "import os; print(*(os.environ.get(name) for name in {names!r}))"


def shown(code: str, **environment: str) -> str:
    """What a fresh Python prints in which none of the variables is set."""
    clean = {key: value for key, value in os.environ.items() if key not in NAMES}
    done = subprocess.run([sys.executable, "-c", code], env=clean | environment, cwd=ROOT,
                          text=True, capture_output=True, check=True)
    return done.stdout.strip()


def test_importing_the_study_sets_how_threads_wait() -> None:
    assert shown("import lib; " + SHOW.format(names=list(WAITING))) == "1000 1"


def test_it_is_set_before_openmp_is_loaded() -> None:
    code = ("import sys, lib; assert 'torch' not in sys.modules; import torch; "
            "print(torch.get_num_threads() > 0)")
    text = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, check=True,
                          capture_output=True, env={**{k: v for k, v in os.environ.items()
                                                       if k not in NAMES},
                                                    "OMP_DISPLAY_ENV": "verbose"})
    assert text.stdout.strip() == "True"
    if "GOMP_SPINCOUNT" in text.stderr:  # GNU's says what it read
        assert re.search(r"GOMP_SPINCOUNT\s*=\s*'1000'", text.stderr)


def test_a_process_that_the_study_starts_waits_so_too() -> None:
    child = SHOW.format(names=list(WAITING))
    code = f"import lib, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert shown(code) == "1000 1"


@pytest.mark.parametrize(("name", "value", "then"), [
    ("GOMP_SPINCOUNT", "7", "7 1 None"), ("OMP_WAIT_POLICY", "active", "None None active")])
def test_a_person_may_set_it_differently(name: str, value: str, then: str) -> None:
    assert shown("import lib; " + SHOW.format(names=NAMES), **{name: value}) == then


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0*.ipynb")),
                         ids=lambda path: path.stem)
def test_no_notebook_imports_pytorch_before_the_study(path: Path) -> None:
    lines = "\n".join("".join(cell["source"]) for cell in read_json(path)["cells"]
                      if cell["cell_type"] == "code")
    first = re.search(r"^\s*(?:import|from) lib\b", lines, re.MULTILINE)
    torch = re.search(r"^\s*(?:import|from) (?:torch|transformers)\b", lines, re.MULTILINE)
    assert first
    assert torch is None or first.start() < torch.start()
