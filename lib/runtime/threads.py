"""As many computing threads as cores are free, so that a neighbour does not stall them.

The threads of a matrix product wait for the slowest. Where another program takes a core, two
threads get less done than one: the thread on the taken core is away half of the time, and the
other waits for it, thousands of times a step. So long work calls `leave_taken_cores` between its
pieces (`tests/bench/busy.py` measures what it gains). Another number of threads may round sums
otherwise; whoever wants the same digits on a busy machine sets OMP_NUM_THREADS, which stays.
"""

import os
import time

OFTEN = 0.5  # seconds between two looks, at least; shorter ones are noise
NEWEST = 0.5  # weight of the newest look beside the earlier ones


class CoreWatch:
    """Counts the cores that other processes use, from one look to the next."""

    def __init__(self) -> None:
        self.most = 0  # threads as PyTorch or a person chose them; 0: not looked yet
        self.set = 0  # as they were set here last
        self.taken = 0.0
        self.seen = (0.0, 0.0)  # time; processor seconds of others

    def look(self) -> None:
        """Set PyTorch's threads to the free cores, between half and all of the chosen ones.

        Call it between two pieces of work; it does nothing where it was called a moment ago, and
        where OMP_NUM_THREADS is set.
        """
        if os.environ.get("OMP_NUM_THREADS"):
            return
        import torch
        now = time.monotonic()
        if torch.get_num_threads() != self.set:  # the first look, or a person chose anew
            self.most = self.set = torch.get_num_threads()
            self.taken, self.seen = 0.0, (now, used_by_others())
        since = now - self.seen[0]
        if self.most == 1 or since < OFTEN:
            return
        others = used_by_others()
        now_taken = min(max(0.0, (others - self.seen[1]) / since), float(cores()))
        self.taken += NEWEST * (now_taken - self.taken)
        self.seen = now, others
        self.set = max(1, self.most // 2, min(self.most, round(cores() - self.taken)))
        torch.set_num_threads(self.set)


WATCH = CoreWatch()


def leave_taken_cores() -> None:
    """Compute from here on with the cores that other programs leave; cheap, for every few seconds.

    On a GPU's machine it concerns what the processor computes.
    """
    WATCH.look()


def chosen_threads() -> int:
    """Threads on a machine without other work."""
    import torch
    return WATCH.most if torch.get_num_threads() == WATCH.set else torch.get_num_threads()


def cores() -> int:
    """Cores of the machine, whose use `used_by_others` counts."""
    return os.cpu_count() or 1


def used_by_others() -> float:
    """Processor seconds that all other processes have used since the machine started."""
    import psutil
    times = psutil.cpu_times()._asdict()
    busy = sum(seconds for name, seconds in times.items()
               if name not in ("idle", "iowait", "guest", "guest_nice"))  # user holds guest's
    return busy - time.process_time()
