"""A file lock for one process at a time, which ends with its process."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lib.runtime.files import FileError, read_json, write_json

PATIENCE = 5.0  # seconds: a notebook's kernel ends within two when its command was killed


class HeldError(RuntimeError):
    """Another process holds the lock; the text names it and the time."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock `path` for a block; a JSON file beside it names the holder.

    The system frees the lock when its process ends or dies. Raises HeldError if another process
    still holds it after a few seconds, and FileError for a folder that cannot be written to.
    """
    holder, lock = path.with_suffix(".json"), FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise HeldError(_told(holder)) from None
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; "
                        "choose another --run folder") from error
    try:
        write_json(holder, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        yield
    finally:
        with suppress(OSError):  # whoever reads it on Windows
            holder.unlink()
        lock.release()


def _told(holder: Path) -> str:
    """Who holds the lock; the file comes after the lock and goes before it."""
    try:
        who = read_json(holder)
        return f"process {who['pid']} has worked on it since {who['since']}"
    except (FileError, KeyError, TypeError):
        return "another process has just begun or ended"
