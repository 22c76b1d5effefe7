"""Progress with an estimate of the remaining time, for terminals, notebooks and logs.

A terminal shows a bar; papermill, CI and notebooks get plain lines, because widget bars freeze in
executed notebooks. The lines come every ten seconds at first, then less often.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
FIRST_LINES, LAST_LINES = 10.0, 120.0  # seconds between lines, at first and at most


def say(message: str) -> None:
    """Print one line unbuffered, so that logs show it at once."""
    print(message, flush=True)


def duration(seconds: float) -> str:
    """`75.2` -> `1 min 15 s`; the two largest units from days to seconds."""
    left, parts = int(seconds) if seconds >= 60 else round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        parts += [(count, unit)] if count or parts or unit == "s" else []
    (first, unit), *rest = parts
    return f"{first} {unit}" + (f" {rest[0][0]:02d} {rest[0][1]}" if rest else "")


class Progress:
    """Counts finished units of work and estimates the remaining time.

    Use it as a context manager, and call `advance(units, note)` after each piece of work.
    """

    def __init__(self, description: str, total: int, unit: str = "step") -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self.started = self.last_line = time.monotonic()
        self.bar = tqdm(total=total, desc=description, unit=unit) if sys.stderr.isatty() else None

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` as done; `note` (a loss, a rate) stands beside the count."""
        self.done += units
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(units)
            return
        now = time.monotonic()
        wait = min(max(FIRST_LINES, (now - self.started) / 4), LAST_LINES)
        if now - self.last_line >= wait and self.done < self.total:  # the last line is the end's
            self.last_line = now
            say(self.line(note))

    def line(self, note: str = "") -> str:
        """One line: done, total, elapsed time, estimated remaining time."""
        elapsed = time.monotonic() - self.started
        left = elapsed / max(self.done, 1) * (self.total - self.done)
        text = (f"{self.description}: {self.done}/{self.total} {self.unit}s, "
                f"{duration(elapsed)} so far, about {duration(left)} left")
        return f"{text}, {note}" if note else text

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None:
            took = duration(time.monotonic() - self.started)
            say(f"{self.description}: {self.done} {self.unit}s in {took}")


def track(items: Iterable[Item], description: str, total: int,
          unit: str = "step") -> Iterator[Item]:
    """Iterate with progress: one unit an item."""
    with Progress(description, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()
