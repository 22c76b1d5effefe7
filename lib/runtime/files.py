"""Atomic writes: a reader sees the old file or the new one, never half of each.

A run writes each file under a temporary name beside its target and renames it (`os.replace` is
atomic within one file system). Errors name the first damaged line of JSON Lines.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

Row = dict[str, Any]  # as it is made, and as JSON gives it
Record = Mapping[str, Any]  # as a function reads it: a Row, or a row of a typed schema
PART = ".part"
LFS_POINTER = b"version https://git-lfs"
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_TEXTS = ("os error 28", "os error 112", "os error 122",  # of Rust, on Windows and with a quota
              "database or disk is full")  # of SQLite


class FileError(ValueError):
    """A file that cannot be read or written; the text is one sentence."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    Raises FileError for a folder that is read-only or full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.",
                                             suffix=f".{os.getpid()}{PART}")
        os.close(handle)
        os.chmod(temporary, 0o644)
        yield Path(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; nothing was lost, "
                        "free some space or choose another --run folder") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def remove_parts(folder: Path) -> None:
    """Delete the temporary files in a folder whose `atomic_write` ended with its process."""
    for path in folder.rglob(f".*.*{PART}"):
        writer = path.name.split(".")[-2]
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            path.unlink(missing_ok=True)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A new folder beside another, for one process at a time; deleted in the end with what it has.

    Its name is always the same, so that what a killed process left in it goes as well.
    """
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def told_if_full(path: Path) -> Iterator[None]:
    """Raise FileError for whatever error of a library in the block says that the disk is full."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in FULL or any(text in str(error)
                                                            for text in FULL_TEXTS)
        if not full or isinstance(error, FileError):
            raise
        raise FileError(f"no space is left to write {path}; free some and run the same again, what "
                        "is finished is kept") from error


def remove_folder(folder: Path) -> None:
    """Delete a folder if it is there; a process that is killed meanwhile leaves no part of it."""
    aside = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_write(path) as temporary:
        # half an emoji has no UTF-8; its backslash escape is JSON's own
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path | str, rows: Iterable[Row]) -> None:
    """Write one JSON object a line, atomically."""
    with atomic_write(path) as temporary, temporary.open(
            "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def append_jsonl(path: Path | str, row: Row) -> None:
    """Append one JSON object in a single write, so that a killed process rarely cuts a line."""
    path = Path(path)
    line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            # half an emoji has no UTF-8; its backslash escape is JSON's own
            file.write(line.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; what it holds is kept, "
                        "free some space or choose another --run folder") from error


def read_json(path: Path | str) -> Any:
    """Read a JSON file; a FileError names the damaged line."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    except json.JSONDecodeError as error:
        raise FileError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error


def parse_jsonl(lines: Iterable[str], name: Path | str,
                hook: Callable[[Any], Row] | None = None) -> list[Row]:
    """Parse JSON Lines without blank lines; `name` is the file, for errors.

    hook: makes an object of its (name, value) pairs and may raise ValueError.
    """
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=hook)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits; endless brackets
            reason = getattr(error, "msg", error)
            raise FileError(f"{name}, line {number}: not valid JSON ({reason})") from error
        if not isinstance(row, dict):
            raise FileError(f"{name}, line {number}: {type(row).__name__}, expected an object")
        rows.append(row)
    return rows


def read_jsonl(path: Path | str) -> list[Row]:
    """Read one JSON object a line; a FileError names the damaged line."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return parse_jsonl(file, path)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {error}") from error


def read_whole_lines(path: Path | str) -> tuple[list[Row], int]:
    """The rows of a JSON Lines file before its first damaged line, and the number of its lines.

    `append_jsonl` grows such files: a process that was killed, or is still writing, leaves an
    incomplete last line. A missing file has no lines.
    """
    path, rows = Path(path), []
    content = path.read_bytes() if path.exists() else b""  # text would split at U+2028 too
    lines = [line for line in content.splitlines() if line.strip()]
    for line in lines:
        try:
            rows += parse_jsonl([line.decode("utf-8")], path)
        except (FileError, UnicodeDecodeError):
            break
    return rows, len(lines)


def refuse_pointer(path: Path) -> None:
    """Raise FileError for a file that cannot be read, or that Git LFS left to point to the rest."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(LFS_POINTER))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    if begin == LFS_POINTER:
        raise FileError(f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` "
                        f"in {path.absolute().parent}")


def shown(path: Path) -> str:
    """A path for messages; one inside the working folder is relative."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_value(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value in canonical form, in hex."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def sha256_of_values(values: Iterable[Any]) -> str:
    """SHA-256 over JSON-serialisable values, one at a time, in hex."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(sha256_of_value(value).encode("ascii"))
    return digest.hexdigest()
