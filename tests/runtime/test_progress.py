"""Progress: durations that a person reads, and lines that are not more than needed."""

import pytest

from lib.runtime import progress
from lib.runtime.progress import Progress, duration


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "0 s"), (59.6, "1 min 00 s"), (75.2, "1 min 15 s"), (3600, "1 h 00 min"),
    (8_542_346, "98 d 20 h")])
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_get_rarer_and_none_says_that_nothing_is_left(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    with Progress("DPO", 600) as counted:
        for _ in range(600):
            clock[0] += 1.0
            counted.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "DPO: 10/600 steps, 10 s so far, about 9 min 50 s left"
    assert len(lines) < 20  # of 60 ten-second spans
    assert not any("about 0 s left" in line for line in lines)
    assert lines[-1] == "DPO: 600 steps in 10 min 00 s"
