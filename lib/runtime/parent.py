"""A process that ends with the one that started it, however that one ended.

A killed process cannot stop its children. Training processes that go on without their notebook
would write into the folder in which the next run resumes.
"""

import os
from contextlib import suppress
from threading import Thread

import psutil

PARENT = "STUDY_PARENT"  # the process that started this one; set by `prepare_children`


def end_with_parent() -> None:
    """End this process when the one that the environment names has ended, by a thread that waits.

    A process that was started by hand has none and does nothing.
    """
    parent = int(os.environ.get(PARENT, os.getpid()))
    if parent != os.getpid():
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    with suppress(psutil.NoSuchProcess):  # it has ended already
        psutil.Process(parent).wait()
    os._exit(1)  # whatever the other threads do
