"""Progress: durations that a person reads, few lines, and estimates that do not jump."""

from collections.abc import Callable, Sequence

import pytest

from lib.runtime import progress
from lib.runtime.progress import Progress, about, counted, duration, track

# seconds and computed tokens of the training steps of a recorded laptop run
SFT = [(12.6, 2624), (5.3, 2688), (4.1, 2496), (4.2, 2496), (4.1, 2496), (4.8, 2688), (8.8, 2560),
       (9.2, 2496), (8.7, 2176), (9.0, 2432), (9.5, 2496), (7.4, 2432), (7.2, 2624), (7.9, 2816),
       (8.1, 2944), (9.3, 2560)]
DPO = [(13.4, 3072), (13.8, 2944), (14.2, 3584), (11.5, 2560), (15.7, 4160), (13.2, 3264),
       (13.7, 3072), (15.2, 3904), (9.0, 2304), (16.3, 3584), (14.3, 3136), (14.4, 3136),
       (16.7, 3840), (15.3, 3712), (11.5, 2624), (13.5, 3200), (6.2, 1216)]
WARNING = [(5.7, 896), (5.1, 960), (3.4, 768), (2.9, 640), (4.1, 832), (2.7, 640), (3.0, 768),
           (4.1, 960), (3.1, 704), (3.7, 1152), (1.9, 704), (1.6, 576)]
# steps of very different size at one speed: the largest first, last, by turns, one alone
UNEVEN = {"largest first": [60, 40, 20, 10, 5, 5, 5, 5], "largest last": [5, 5, 5, 5, 10, 20, 60],
          "by turns": [30, 3] * 8, "one alone": [6] * 10 + [120] + [6] * 10}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets, and no terminal."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    return now


@pytest.fixture
def spoken(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """(time, seconds left) of every estimate that is printed."""
    estimates: list[tuple[float, float]] = []
    left = Progress.left

    def noted(self: Progress) -> float | None:
        found = left(self)
        if found is not None:
            estimates.append((clock[0], found))
        return found
    monkeypatch.setattr(Progress, "left", noted)
    return estimates


def jumps(estimates: Sequence[tuple[float, float]]) -> list[float]:
    """By which factor each estimate differs from the one before, less the time since."""
    return [max(now / (before - (time - earlier)), (before - (time - earlier)) / now)
            for (earlier, before), (time, now) in zip(estimates, estimates[1:], strict=False)
            if now > 5 and before - (time - earlier) > 5]


def errors(estimates: Sequence[tuple[float, float]], end: float) -> list[float]:
    """By which factor each estimate misses what was left."""
    return [max(left / (end - time), (end - time) / left) for time, left in estimates
            if end - time > 10]


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "0 s"), (59.6, "1 min 00 s"), (75.2, "1 min 15 s"), (3600, "1 h 00 min"),
    (8_542_346, "98 d 20 h")])
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_thing_is_told_in_the_singular() -> None:
    assert [counted(number, "row") for number in (0, 1, 2, 1200)] == [
        "0 rows", "1 row", "2 rows", "1,200 rows"]


def test_lines_get_rarer_and_none_says_that_nothing_is_left(
        clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("DPO", 600) as counted:
        for _ in range(600):
            clock[0] += 1.0
            counted.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "DPO: 10/600 steps, 10 s so far, about 9 min 50 s left"
    assert len(lines) < 20  # of 60 ten-second spans
    assert not any("about 0 s left" in line for line in lines)
    assert lines[-1] == "DPO: 600 steps in 10 min 00 s"


@pytest.mark.parametrize("steps", [SFT, DPO, WARNING], ids=["sft", "dpo", "warning"])
@pytest.mark.parametrize("evaluation", [0.0, 12.0])
def test_estimates_of_recorded_training_are_right_within_a_factor_of_two(
        steps: list, evaluation: float, clock: list[float], spoken: list) -> None:
    every = 8
    pauses = 1 + sum(step % every == 0 or step == len(steps) for step in range(1, len(steps) + 1))
    with Progress("SFT", len(steps), work=sum(work for _, work in steps), pauses=pauses) as told:
        with told.pause():
            clock[0] += evaluation
        for step, (seconds, work) in enumerate(steps, start=1):
            clock[0] += seconds
            told.advance(work=work)
            if step % every == 0 or step == len(steps):
                with told.pause():
                    clock[0] += evaluation
    assert max(errors(spoken, clock[0])) < 2
    assert max(jumps(spoken)) < 2


@pytest.mark.parametrize("works", UNEVEN.values(), ids=UNEVEN)
def test_rows_of_different_length_do_not_move_the_estimate(
        works: list, clock: list[float], spoken: list) -> None:
    for work in track(works, "reading", len(works), "row", works):
        clock[0] += work
    assert max(jumps(spoken)) < 1.05


def test_a_program_that_takes_half_of_the_machine_for_a_while_halves_no_estimate(
        clock: list[float], spoken: list) -> None:
    with Progress("SFT", 40) as told:
        for step in range(40):
            clock[0] += 20.0 if 10 <= step < 20 else 10.0
            told.advance()
    assert max(jumps(spoken)) < 1.5


def test_the_evaluation_after_the_last_step_is_told_before_it_begins(
        clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("SFT", 2, pauses=2) as told:
        for _ in range(2):
            clock[0] += 20.0
            told.advance()
            with told.pause():
                clock[0] += 30.0
    assert "SFT: 2/2 steps, 1 min 10 s so far, about 30 s left" in capsys.readouterr().out


def test_a_resumed_run_takes_its_own_rate(clock: list[float], spoken: list) -> None:
    with Progress("SFT", 100, work=20) as told:
        told.done = 80
        for _ in range(20):
            clock[0] += 12.0
            told.advance()
    assert spoken[0] == (12.0, pytest.approx(12.0 * 19))


def test_nothing_is_estimated_before_any_work_is_done(
        clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("sampling", 4, "answer") as told:
        clock[0] += 11.0
        told.expect(0, 0, 100)
        assert capsys.readouterr().out == "sampling: 0/4 answers, 11 s so far\n"
        told.expect(4, 100, 100)


def test_a_line_says_whose_work_it_is_the_outermost_first(
        clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with about("sft at T = 0.6"), about("for judge"), Progress("reading", 2, "answer") as told:
        clock[0] += 12.0
        told.advance()
        clock[0] += 1.0
        told.advance()
    assert capsys.readouterr().out.splitlines() == [
        "reading (sft at T = 0.6, for judge): 1/2 answers, 12 s so far, about 12 s left",
        "reading (sft at T = 0.6, for judge): 2 answers in 13 s"]


def test_work_that_failed_is_not_what_the_next_is_about(clock: list[float]) -> None:
    with pytest.raises(ValueError, match="broken"), about("sft"):
        raise ValueError("broken")
    assert Progress("reading", 2).description == "reading"


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 0), (0.9, 0), (1.0, 1), (30.0, 1)])
def test_what_is_over_within_a_second_leaves_no_line(
        seconds: float, lines: int, clock: list[float],
        capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("reading", 1) as told:
        clock[0] += seconds
        told.advance()
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_a_terminals_bar_says_the_same_estimate(clock: list[float],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Callable] = []

    class Bar:
        """What a terminal would show."""

        def __init__(self, **_: object) -> None:
            self.text = ""
            bars.append(self)

        def set_postfix_str(self, text: str, refresh: bool) -> None:
            self.text = text

        def update(self, units: int) -> None:
            """No drawing."""

        def close(self) -> None:
            """No drawing."""
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "tqdm", Bar)
    with Progress("SFT", 10) as told:
        clock[0] += 10.0
        told.advance(1, "loss 2.0")
    assert bars[0].text == "about 1 min 30 s left, loss 2.0"
