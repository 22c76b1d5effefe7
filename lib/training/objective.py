"""What the training loop needs to know about a task, and the order in which its examples come.

An objective (`lib.training.sft`, `dpo`, `reward`) says how the examples of one optimizer step
become packed rows and what their loss is. `step_batches` deals its examples to optimizer steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lib.training.parallel.processes import Unit
from lib.training.settings import TrainingSettings

Metrics = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One packed row of an optimizer step: what the objective needs to compute its loss."""

    batch: Any
    examples: tuple[int, ...]
    extra: Any = None


class Objective(Protocol):
    """What the loop needs to know about a task."""

    groups: Sequence[Sequence[int]]  # example indices that stay together when data are shuffled

    def rows(self, examples: Sequence[int], device: torch.device) -> list[Row]:
        """Pack the examples of one optimizer step (or of an evaluation) into rows."""

    def weight(self, examples: Sequence[int]) -> float:
        """The denominator of the mean loss: response tokens (SFT) or pairs (DPO)."""

    def loss(self, model: nn.Module, row: Row) -> tuple[Tensor, Metrics]:
        """Summed loss of a row, and sums of its metrics to be divided by the same weight."""

    def units(self, examples: Sequence[int]) -> list[Unit]:
        """The examples in groups that share computation, with the tokens that each takes."""

    def tokens(self, examples: Sequence[int]) -> int:
        """Tokens of the examples as TRL counts them: a pair's prompt in both of its sequences."""

    def key(self) -> str:
        """Hash of the data and of whatever else the loss depends on."""


def epoch_order(groups: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Example indices of one epoch, shuffled by group, so that pairs of a prompt stay together."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(groups), generator=generator).tolist()
    return [example for group in order for example in groups[group]]


def step_batches(objective: Objective, settings: TrainingSettings, seed: int) -> list[list[int]]:
    """The examples behind every optimizer step; the last step of an epoch may be short."""
    batches: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        order = epoch_order(objective.groups, seed, epoch)
        share = min(1.0, settings.epochs - epoch)
        order = order[:max(1, round(share * len(order)))]
        size = settings.examples_per_step
        batches += [order[i:i + size] for i in range(0, len(order), size)]
    return batches
