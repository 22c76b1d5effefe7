"""The study's own code; `ROOT` is the folder that holds `lib`, `data` and `notebooks`.

Threads that wait for each other give their core away. OpenMP's own way, to wait in a loop, makes
two threads beside one other program several times slower than one. It reads these variables when
PyTorch is loaded, so they are set here, before, for this process and those that it starts; whoever
sets one of them differently keeps it.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WAITING = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}  # GNU's OpenMP, LLVM's and Intel's
for _name, _value in WAITING.items():
    os.environ.setdefault(_name, _value)
