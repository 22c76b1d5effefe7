"""Files that another process may have left in the middle of a line, or of its work."""

import errno
import sqlite3
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from lib.runtime.files import (
    FileError,
    append_jsonl,
    atomic_write,
    folder_aside,
    read_jsonl,
    read_whole_lines,
    remove_parts,
    told_if_full,
    write_jsonl,
)
from tests.forked import process

ROWS = [{"text": "a\u2028line\x85separator"}, {"text": "caf\u00e9"}]


def test_whole_lines_are_read_up_to_the_first_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_whole_lines(path) == ([], 0)
    for row in ROWS:
        append_jsonl(path, row)
    assert read_whole_lines(path) == (ROWS, 2)
    path.write_bytes(path.read_bytes()[:-4])  # in the middle of a character
    assert read_whole_lines(path) == (ROWS[:1], 2)
    with path.open("ab") as file:
        file.write(b'\n{"text": "after the damage"}\n\n')
    assert read_whole_lines(path) == (ROWS[:1], 3)


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    SafetensorError("I/O error: There is not enough space on the disk. (os error 112)"),
    sqlite3.OperationalError("database or disk is full")])
def test_every_librarys_word_for_a_full_disk_is_one_sentence(
        error: Exception, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no space is left to write .*what is finished is kept"), \
            told_if_full(tmp_path):
        raise error


@pytest.mark.parametrize("error", [
    OSError(errno.EACCES, "Permission denied"), ValueError("beta is full of hope"),
    FileError("cannot write a: No space left on device"), KeyError(28), OSError("disk")])
def test_another_error_stays_what_it_is(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, told_if_full(tmp_path):
        raise error
    assert raised.value is error


def test_half_an_emoji_is_written_and_read_back(tmp_path: Path) -> None:
    rows = [{"text": "half \ud83d"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert read_jsonl(tmp_path / "a.jsonl") == rows
    assert read_whole_lines(tmp_path / "a.jsonl") == (rows, 1)


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d",
                                  "\x1e", "\r", "\ufeff"])
def test_no_sign_inside_a_text_ends_a_line_of_ours(tmp_path: Path, sign: str) -> None:
    rows = [{"id": "a", "text": f"one{sign}two"}, {"id": "b", "text": sign}]
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, rows[:1])
    append_jsonl(path, rows[1])
    assert read_jsonl(path) == rows
    assert read_whole_lines(path) == (rows, 2)


def write_without_end(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        time.sleep(600)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_what_a_killed_process_was_writing_is_removed_and_what_another_writes_is_not(
        tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    started = process(write_without_end, tmp_path / "figures" / "a.b.svg")
    deadline = time.monotonic() + 60
    while not hidden(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    remove_parts(tmp_path)
    assert len(hidden(tmp_path)) == 1
    started.kill()
    started.join()
    for name in (".gitignore", ".mine.part", ".a.b.part"):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert hidden(tmp_path) == [".a.b.part", ".gitignore", ".mine.part"]


def test_a_folder_aside_begins_empty_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"
    with pytest.raises(FileNotFoundError), folder_aside(folder) as aside:
        (aside / "no such folder" / "weights").touch()
    assert hidden(tmp_path) == []
    (tmp_path / "deep" / ".model.aside" / "of a killed one").mkdir(parents=True)
    with folder_aside(folder) as aside:
        assert list(aside.iterdir()) == []
        (aside / "model").mkdir()
        (aside / "model").rename(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "model"]
