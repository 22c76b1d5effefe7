"""What the training loop needs to know about a task, and the order in which its examples come.

An objective (`lib.training.sft`, `dpo`, `reward`) says how the examples of one optimizer step
become packed rows and what their loss is. `step_batches` splits the examples into steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from lib.modeling.packed.packing import PackedBatch
from lib.training.settings import TrainingSettings

Metrics = dict[str, float]


@dataclass(frozen=True)
class PackedRow:
    """One packed row of an optimizer step, and the examples that lie in it."""

    batch: PackedBatch
    examples: tuple[int, ...]


class ExampleGroup(NamedTuple):
    """Examples that are computed together, and the tokens that this takes."""

    examples: list[int]
    tokens: int


class Objective(Protocol):
    """What the loop needs to know about a task."""

    groups: Sequence[Sequence[int]]  # example indices that stay together when data are shuffled

    def rows(self, examples: Sequence[int], device: torch.device) -> list[PackedRow]:
        """Pack the examples of one optimizer step (or of an evaluation) into rows."""

    def weight(self, examples: Sequence[int]) -> float:
        """The denominator of the mean loss: response tokens (SFT) or pairs (DPO)."""

    def loss(self, model: nn.Module, row: PackedRow) -> tuple[Tensor, Metrics]:
        """Summed loss of a row, and sums of its metrics to be divided by the same weight."""

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """The examples in groups that share computation, which one process must take whole."""

    def tokens(self, examples: Sequence[int]) -> int:
        """Tokens of the examples as TRL counts them: a pair's prompt in both of its sequences."""

    def key(self) -> str:
        """Hash of the data and of whatever else the loss depends on."""


class RowLoss(nn.Module):
    """An objective's loss as a module's forward: FSDP gathers a model's weights for a forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, row: PackedRow) -> tuple[Tensor, Metrics]:
        """The objective's summed loss of a row, and its metrics."""
        return objective.loss(self.model, row)


def epoch_order(groups: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Example indices of one epoch, shuffled by group, so that pairs of a prompt stay together."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(groups), generator=generator).tolist()
    return [example for group in order for example in groups[group]]


def step_batches(groups: Sequence[Sequence[int]], settings: TrainingSettings,
                 seed: int) -> list[list[int]]:
    """The examples behind every optimizer step; the last step of an epoch may be short.

    groups: an objective's.
    """
    batches: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        order = epoch_order(groups, seed, epoch)
        share = min(1.0, settings.epochs - epoch)
        order = order[:max(1, round(share * len(order)))]
        batches += [order[i:i + settings.batch_size]
                    for i in range(0, len(order), settings.batch_size)]
    return batches
