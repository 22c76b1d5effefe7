"""A rate limit for several threads: no more calls in a minute than a server allows."""

import time
from collections.abc import Callable
from threading import Event, Lock


class RateLimit:
    """`per_minute` evenly spaced calls a minute; `clock` gives seconds."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval, self.clock = 60.0 / per_minute, clock
        self.next_call = self.paused_until = clock()
        self.lock = Lock()

    def wait(self, stopped: Event) -> bool:
        """Wait for a turn; False when `stopped` is set before it comes."""
        while not stopped.wait(self._reserve()):
            if self.clock() >= self.paused_until:
                return True
        return False

    def _reserve(self) -> float:
        """Take the next turn; returns the seconds until it comes."""
        with self.lock:
            now = self.clock()
            start = max(now, self.next_call, self.paused_until)
            self.next_call = start + self.interval
            return start - now

    def pause(self, seconds: float) -> None:
        """Start no call for `seconds`, as a server demands; waiting callers queue again."""
        with self.lock:
            self.paused_until = max(self.paused_until, self.clock() + seconds)
