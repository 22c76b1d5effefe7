"""Threads leave the cores that others take, and come back to them."""

from collections.abc import Callable, Iterator

import pytest
import torch

from lib.runtime import threads
from lib.runtime.threads import CoreWatch, chosen_threads, cores, used_by_others


class Machine:
    """A machine of some cores on which others use some, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.now, self.used, self.set = 100.0, 50.0, count
        monkeypatch.setattr(threads.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads, "used_by_others", lambda: self.used)
        monkeypatch.setattr(threads, "cores", lambda: count)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.set)
        monkeypatch.setattr(torch, "set_num_threads", lambda value: setattr(self, "set", value))

    def after(self, watch: CoreWatch, seconds: float, taken: float, every: float = 1.0) -> int:
        """Threads when others took so many cores for these seconds."""
        for _ in range(round(seconds / every)):
            self.now += every
            self.used += taken * every
            watch.look()
        return self.set


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Machine]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return lambda count: Machine(monkeypatch, count)


@pytest.mark.parametrize(("count", "taken", "left"), [
    (2, 0.0, 2), (2, 0.2, 2), (2, 1.0, 1), (2, 2.0, 1), (4, 1.0, 3), (4, 3.7, 2), (8, 2.2, 6),
    (16, 0.4, 16), (1, 1.0, 1)])
def test_threads_are_as_many_as_cores_are_free(count: int, taken: float, left: int,
                                               machine: Callable) -> None:
    watch, here = CoreWatch(), machine(count)
    watch.look()
    assert here.after(watch, 8, taken) == left


def test_a_crowded_server_takes_half_of_the_threads_at_most(machine: Callable) -> None:
    watch, here = CoreWatch(), machine(64)
    here.set = 8
    watch.look()
    assert here.after(watch, 8, 63.0) == 4


def test_threads_come_back_when_the_neighbour_has_ended(machine: Callable) -> None:
    watch, here = CoreWatch(), machine(2)
    watch.look()
    assert here.after(watch, 5, 1.0) == 1
    assert here.after(watch, 5, 0.0) == 2


def test_a_moment_of_other_work_changes_nothing(machine: Callable) -> None:
    watch, here = CoreWatch(), machine(2)
    watch.look()
    here.after(watch, 10, 0.0)
    assert here.after(watch, 0.5, 0.8, every=0.5) == 2
    assert here.after(watch, 0.3, 5.0, every=0.1) == 2  # looks that follow too soon see nothing


def test_as_many_threads_as_a_person_chose_are_the_most(machine: Callable) -> None:
    watch, here = CoreWatch(), machine(8)
    here.set = 3
    watch.look()
    assert here.after(watch, 5, 0.0) == 3
    assert here.after(watch, 5, 6.0) == 2
    here.set = 4  # chosen anew
    watch.look()
    assert here.after(watch, 5, 0.0) == 4


def test_a_number_of_threads_in_the_environment_stays(
        machine: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, here = CoreWatch(), machine(4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    watch.look()
    assert here.after(watch, 5, 3.0) == 4


def test_processes_of_one_thread_each_keep_it(machine: Callable) -> None:
    watch, here = CoreWatch(), machine(4)
    here.set = 1
    watch.look()
    assert here.after(watch, 5, 0.0) == 1


@pytest.fixture
def real_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("real_threads")
def test_the_threads_that_a_run_records_are_those_of_a_machine_without_other_work(
        monkeypatch: pytest.MonkeyPatch) -> None:
    watch = CoreWatch()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "WATCH", watch)
    torch.set_num_threads(2)
    watch.look()
    watch.set = 1
    torch.set_num_threads(1)
    assert chosen_threads() == 2


def test_other_processes_use_is_counted_in_seconds_and_without_our_own() -> None:
    before = used_by_others()
    sum(range(2_000_000))  # our own work
    assert 0 <= used_by_others() - before < 60
    assert cores() >= 1
