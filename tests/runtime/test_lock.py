"""One process at a time holds a lock, and whoever is refused is told by whom in one sentence."""

import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lib.runtime import lock
from lib.runtime.files import FileError, append_jsonl, read_jsonl, write_json, write_text
from lib.runtime.lock import HeldError, held
from tests.forked import process

ROUNDS, PROCESSES = 150, 4


def take_turns(path: Path, number: int) -> None:
    """Take the lock again and again, without patience; note how each try ended."""
    lock.PATIENCE = 0.0
    alone = path.with_suffix(".alone")
    for _ in range(ROUNDS):
        try:
            with held(path):
                os.close(os.open(alone, os.O_CREAT | os.O_EXCL))  # it is there if another is inside
                alone.unlink()
            ended = "held"
        except HeldError as error:
            ended = str(error)
        except (OSError, FileError) as error:
            ended = f"{type(error).__name__}: {error}"
        append_jsonl(path.with_suffix(f".{number}.jsonl"), {"ended": ended})


def hold(path: Path, begun: Path) -> None:
    with held(path):
        write_text(begun, "")
        time.sleep(600)


def holding(path: Path) -> BaseProcess:
    started, begun = process(hold, path, path.with_suffix(".begun")), path.with_suffix(".begun")
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return started


def test_of_many_processes_one_holds_it_and_the_others_are_told_who(tmp_path: Path) -> None:
    path = tmp_path / "stage.lock"
    all_started = [process(take_turns, path, number) for number in range(PROCESSES)]
    for started in all_started:
        started.join(timeout=120)
        assert started.exitcode == 0
    ended = [row["ended"] for number in range(PROCESSES)
             for row in read_jsonl(path.with_suffix(f".{number}.jsonl"))]
    assert len(ended) == ROUNDS * PROCESSES
    assert "held" in ended
    told = ("process ", "another process has just begun or ended")
    assert [text for text in ended if text != "held" and not text.startswith(told)] == []
    assert not path.with_suffix(".json").exists()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "stage.lock"
    started = holding(path)
    started.kill()
    started.join()
    assert path.with_suffix(".json").exists()  # the killed one could not remove it
    with held(path):
        pass
    assert not path.with_suffix(".json").exists()


def test_a_lock_is_waited_for_while_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "stage.lock"
    started = holding(path)
    killer = process(kill_soon, started.pid)
    with held(path):
        pass
    killer.join()
    started.join()


def kill_soon(pid: int) -> None:
    time.sleep(0.3)
    os.kill(pid, 9)


@pytest.mark.parametrize("known", [None, "", "{", "[]", "{}", '{"pid": 7}', "\x00"])
def test_a_holder_that_cannot_be_read_is_another_process(
        known: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    path = tmp_path / "stage.lock"
    with held(path):
        path.with_suffix(".json").unlink()
        if known is not None:
            path.with_suffix(".json").write_text(known)
        with pytest.raises(HeldError, match="another process has just begun or ended"), held(path):
            pass


def test_the_holder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    path = tmp_path / "stage.lock"
    with held(path):
        write_json(path.with_suffix(".json"), {"pid": 7, "since": "yesterday"})
        with pytest.raises(HeldError, match="process 7 has worked on it since yesterday"), \
                held(path):
            pass
