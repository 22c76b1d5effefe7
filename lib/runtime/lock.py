"""A file lock for one process at a time, which ends with its process."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lib.runtime.files import FileError, read_json, write_json


class HeldError(RuntimeError):
    """Another process holds the lock; the text names it and the time."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock `path` for a block; a JSON file beside it names the holder.

    The system frees the lock when its process ends or dies. Raises HeldError at once if another
    process holds it, and FileError for a folder that cannot be written to.
    """
    holder, lock = path.with_suffix(".json"), FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        who = read_json(holder) if holder.exists() else {"pid": "unknown", "since": "a moment ago"}
        raise HeldError(f"process {who['pid']} has worked on it since {who['since']}") from None
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; "
                        "choose another --run folder") from error
    try:
        write_json(holder, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
