"""The study's own code; `ROOT` is the folder that holds `lib`, `data` and `notebooks`.

Threads that wait for each other look a thousand times whether they may go on, which takes some
microseconds, and then sleep. OpenMP's own way, to look 300,000 times, makes two threads beside one
other program several times slower than one; to sleep at once makes two threads of an idle machine
hardly faster than one, because a training step has thousands of waits (`tests/bench/busy.py`).
OpenMP reads these variables when PyTorch is loaded, so they are set here, before, for this process
and those that it starts; whoever sets one of them, or OMP_WAIT_POLICY, keeps his choice.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}  # GNU's OpenMP; LLVM's and Intel's, ms
if "OMP_WAIT_POLICY" not in os.environ:
    for _name, _value in WAITING.items():
        os.environ.setdefault(_name, _value)
