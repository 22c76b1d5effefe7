"""Progress with an estimate of the remaining time, for terminals, notebooks and logs.

A terminal shows a bar; papermill, CI and notebooks get plain lines, because widget bars freeze in
executed notebooks. The lines come every ten seconds at first, then less often. Units of different
size say how much work they are, so that the estimate does not jump; pauses, such as evaluations,
are timed apart from them. A line says in brackets whose work it is (`about`), and what is over
within a second leaves none.
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
FIRST_LINES, LAST_LINES = 10.0, 120.0  # seconds between lines, at first and at most
SHORT = 1.0  # seconds that leave no line
# what the work in progress is about, outermost first
_about: ContextVar[tuple[str, ...]] = ContextVar("about", default=())
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


def say(message: str) -> None:
    """Print one line unbuffered, so that logs show it at once."""
    print(message, flush=True)


def duration(seconds: float) -> str:
    """`75.2` -> `1 min 15 s`; the two largest units from days to seconds."""
    left = int(seconds) if seconds >= 60 else round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        parts += [(count, unit)] if count or parts or unit == "s" else []
    (first, unit), *rest = parts
    return f"{first} {unit}" + (f" {rest[0][0]:02d} {rest[0][1]}" if rest else "")


def counted(number: int, what: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def about(what: str) -> Iterator[None]:
    """Progress that begins inside says in brackets what it is about; the outermost comes first."""
    token = _about.set((*_about.get(), what))
    try:
        yield
    finally:
        _about.reset(token)


class Progress:
    """Counts finished units of work and estimates the remaining time.

    Use it as a context manager, and call `advance(units, note)` after each piece of work. work: of
    all units together, in any measure that time follows, tokens for example; without it all units
    are alike. pauses: how often `pause()` will be entered. What an earlier process finished counts
    in `done` and not in work: the rate is that of this process.
    """

    def __init__(self, description: str, total: int, unit: str = "step",
                 work: float | None = None, pauses: int = 0) -> None:
        whose = f" ({', '.join(_about.get())})" if _about.get() else ""
        self.description, self.total, self.unit = description + whose, total, unit
        self.work, self.pauses = total if work is None else work, pauses
        self.done, self.worked = 0, 0.0
        self.paused, self.pauses_over = 0.0, 0
        self.said: tuple[float, float] | None = None  # when the last estimate was made, and it
        self.started = self.last_line = time.monotonic()
        self.bar = tqdm(total=total, desc=self.description, unit=unit, bar_format=BAR) \
            if sys.stderr.isatty() else None

    def advance(self, units: int = 1, note: str = "", work: float | None = None) -> None:
        """Count `units` as done; `note` (a loss, a rate) stands beside the count."""
        self.done += units
        self.worked += units if work is None else work
        self._show(units, note)

    def expect(self, units: int, worked: float, work: float) -> None:
        """Count `units`; work: done and in all as now expected, where nobody knew it before."""
        self.done += units
        self.worked, self.work = worked, work
        self._show(units, "")

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time what is done between units, and is as long every time."""
        started = time.monotonic()
        yield
        self.paused += time.monotonic() - started
        self.pauses_over += 1

    def left(self) -> float | None:
        """Seconds that remain; None while nothing tells.

        Half of a surprise counts at once (in proportion), so that one slow step, or another
        program for a moment, does not double what the last estimate said.
        """
        if self.worked <= 0:
            return None
        now = time.monotonic()
        found = (now - self.started - self.paused) / self.worked * max(self.work - self.worked, 0)
        if self.pauses_over:
            found += self.paused / self.pauses_over * max(self.pauses - self.pauses_over, 0)
        if self.said:
            before = self.said[1] - (now - self.said[0])
            found = math.sqrt(found * before) if before > 0 else found
        self.said = now, found
        return found

    def _show(self, units: int, note: str) -> None:
        if self.bar is not None:
            left = self.left()
            text = [] if left is None else [f"about {duration(left)} left"]
            self.bar.set_postfix_str(", ".join([*text, *filter(None, [note])]), refresh=False)
            self.bar.update(units)
            return
        now = time.monotonic()
        wait = min(max(FIRST_LINES, (now - self.started) / 4), LAST_LINES)
        if now - self.last_line >= wait and self._lasts():  # the last line is the end's
            self.last_line = now
            say(self.line(note))

    def _lasts(self) -> bool:
        return self.done < self.total or self.pauses_over < self.pauses

    def line(self, note: str = "") -> str:
        """One line: done, total, elapsed time, estimated remaining time."""
        left = self.left()
        text = (f"{self.description}: {self.done}/{self.total} {self.unit}s, "
                f"{duration(time.monotonic() - self.started)} so far")
        text += "" if left is None else f", about {duration(left)} left"
        return f"{text}, {note}" if note else text

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None and (took := time.monotonic() - self.started) >= SHORT:
            say(f"{self.description}: {self.done} {self.unit}s in {duration(took)}")


def track(items: Iterable[Item], description: str, total: int, unit: str = "step",
          works: Sequence[float] | None = None) -> Iterator[Item]:
    """Iterate with progress: one unit an item; works: how much work each is."""
    works = works or [1.0] * total
    with Progress(description, total, unit, sum(works)) as progress:
        for item, work in zip(items, works, strict=True):
            yield item
            progress.advance(work=work)
