"""Requests to end a command, all of which do what Ctrl-C does, so that nothing is left behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ENDINGS = ("SIGTERM", "SIGHUP")  # beside Ctrl-C: a request to end, a terminal that was closed


@contextmanager
def endings_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for each request to end that the system knows.

    One that is ignored stays so: `nohup` means to outlive its terminal.
    """
    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)
    numbers = [getattr(signal, name) for name in ENDINGS if hasattr(signal, name)]
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def status_of(ending: KeyboardInterrupt) -> int:
    """The exit status that shells give to such an end: 130 after Ctrl-C."""
    return 128 + (ending.args[0] if ending.args else signal.SIGINT)
