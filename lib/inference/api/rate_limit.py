"""A token bucket shared by threads: never more calls in a minute than a server allows."""

import time
from collections.abc import Callable
from threading import Event, Lock


class TokenBucket:
    """`per_minute` calls a minute, evenly spaced, after a first `burst` that may go at once.

    In any stretch of t seconds at most burst + t * per_minute / 60 calls start. `clock` gives
    seconds; tests replace it.
    """

    def __init__(self, per_minute: float, burst: int = 1,
                 clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute <= 0 or burst < 1:
            raise ValueError(f"{per_minute} calls a minute with a burst of {burst}; "
                             "use more than 0 calls and a burst of at least 1")
        self.interval, self.burst, self.clock = 60.0 / per_minute, burst, clock
        self.next_call = clock() - (burst - 1) * self.interval
        self.held_until = -float("inf")
        self.lock = Lock()

    def reserve(self) -> float:
        """Take the next call's place; returns the seconds until it may start."""
        with self.lock:
            now = self.clock()
            earliest = now - (self.burst - 1) * self.interval  # unused places do not pile up
            start = max(self.next_call, earliest, self.held_until)
            self.next_call = start + self.interval
            return max(0.0, start - now)

    def take(self, stopped: Event) -> bool:
        """Wait for a place; False when `stopped` is set before it comes."""
        while not stopped.wait(self.reserve()):
            if self.clock() >= self.held_until:
                return True
        return False

    def hold(self, seconds: float) -> None:
        """Let nobody start for `seconds`: the server asked for it, and its limit is everybody's.

        Who waits for a place already gives it back and takes one after the pause.
        """
        with self.lock:
            self.held_until = max(self.held_until, self.clock() + seconds)
