"""The processes that train together, as the loop sees them; here: a single process.

`lib.training.parallel.processes` extends `Processes` to many, as copies of the model or as shards
of it. Each method says what all processes do; a single process has nothing to exchange.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.training.objective import ExampleGroup, RowLoss


@dataclass(frozen=True)
class Processes:
    """The processes that train together; this one is `rank` of `count`."""

    rank: int = 0
    count: int = 1
    sharded: bool = False  # FSDP2; otherwise every process holds the whole model

    @property
    def main(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    def part(self, groups: Sequence[ExampleGroup]) -> list[int]:
        """This process's examples of a step."""
        return balance_by_tokens(groups, self.count)[self.rank]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in rank order, on every process."""
        return [value]

    def total(self, sums: dict[str, float]) -> dict[str, float]:
        """Sums by name, added over processes; a name that a process lacks counts as 0."""
        parts = self.gather(sums)
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: sum(part.get(name, 0.0) for part in parts) for name in names}

    def all_true(self, flag: bool) -> bool:
        """Whether the flag is true on every process."""
        return all(self.gather(flag))

    def from_main(self, value: Any) -> Any:
        """The main process's value, on every process."""
        return self.gather(value if self.main else None)[0]

    def local_device(self, device: torch.device) -> torch.device:
        """The device of this process; `device` is what a single process would use."""
        return device

    def row_loss(self, model: PreTrainedModel, dtype: torch.dtype) -> RowLoss:
        """The model wrapped for training; this cuts shards, which compute in `dtype`."""
        return RowLoss(model)

    def add_gradients(self, masters: Iterable[Tensor]) -> None:
        """Replace each process's float32 gradients by their sum over processes."""

    def whole(self, tensor: Tensor) -> Tensor:
        """A sharded tensor put together, on every process; any other tensor unchanged."""
        return tensor

    def own_part(self, tensor: Tensor) -> Tensor:
        """This process's part of a sharded tensor; any other tensor unchanged."""
        return tensor

    def placed_like(self, tensor: Tensor, like: Tensor) -> Tensor:
        """A whole tensor on the device of `like`, cut as `like` is cut."""
        return tensor.to(like.device)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors by name on the main process, nothing on the others."""
        return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


ALONE = Processes()


def balance_by_tokens(groups: Sequence[ExampleGroup], count: int) -> list[list[int]]:
    """Examples for each of `count` processes, about equally many tokens on each.

    Groups go, the longest first, to the process that has the fewest tokens so far (Graham's LPT
    rule: at most 4/3 of the best possible maximum). All processes compute the same split.
    """
    order = sorted(range(len(groups)), key=lambda index: (-groups[index][1], index))
    load = [0] * count
    split: list[list[int]] = [[] for _ in range(count)]
    for index in order:
        rank = load.index(min(load))
        load[rank] += groups[index][1]
        split[rank].append(index)
    return [[example for index in sorted(indices) for example in groups[index][0]]
            for indices in split]
