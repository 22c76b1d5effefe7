"""A decoding pass recorded once as a CUDA graph and replayed in every step.

A pass over a small model is some hundreds of kernels, each shorter than the time that Python needs
to start it; a graph starts all of them at once. A recording holds while the pass reads and writes
the same memory, so a cache that moves needs a new one.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from lib.runtime.progress import say

WARM_UPS = 2  # passes before a recording, in which libraries choose kernels and allocate


class RecordedPass:
    """Replays `run` from a CUDA graph, or calls it where it cannot be recorded.

    run: without arguments, on tensors that do not move, with the same result when it runs again.
    """

    def __init__(self, run: Callable[[], Tensor]) -> None:
        self.run = run
        self.place: Hashable = None  # of the memory of the recorded pass
        self.graph: torch.cuda.CUDAGraph | None = None
        self.out: Tensor | None = None
        self.recordable = True

    def __call__(self, place: Hashable) -> Tensor:
        """The result of a pass; place: another value whenever the tensors of the pass moved."""
        if self.recordable and place != self.place:
            self._record()
            self.place = place
        if not self.recordable:
            return self.run()
        assert self.graph is not None  # since it was recorded
        assert self.out is not None
        self.graph.replay()
        return self.out

    def _record(self) -> None:
        self.graph = self.out = None  # frees the old recording's memory first
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.out = self.run()
        except RuntimeError as error:  # a pass that waits for the GPU, as some rotary scalings do
            self.recordable = False
            say(f"sampling without CUDA graphs: this model's pass cannot be recorded ({error})")
            return
        self.graph = graph
