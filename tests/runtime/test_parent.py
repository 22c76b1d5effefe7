"""A child ends with the process that started it, also with one that was killed."""

import os
import subprocess
import sys

import psutil
import pytest

from lib import ROOT
from lib.runtime import parent

CHILD = """
import time
from lib.runtime.parent import end_with_parent
end_with_parent()
print("begun", flush=True)
time.sleep(600)
"""
STARTER = f"""
import subprocess, sys, time
from lib.runtime.places import prepare_children
prepare_children()
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True,
                         start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_ends_when_the_process_that_started_it_is_killed() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True,
                               cwd=ROOT)
    child = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.wait()
    assert psutil.wait_procs([child], timeout=60)[1] == []


def test_a_child_that_comes_after_the_end_of_its_parent_ends_too() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    alone = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, timeout=60, check=False,
                           env=os.environ | {parent.PARENT: str(ended.pid)}, capture_output=True)
    assert alone.returncode == 1


def test_a_process_that_was_started_by_hand_watches_nobody(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(parent.PARENT, raising=False)
    monkeypatch.setattr(parent, "Thread", None)
    parent.end_with_parent()
