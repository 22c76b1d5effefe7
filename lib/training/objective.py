"""The interface between the training loop and a task, and the order of a task's examples.

An objective (`lib.training.sft`, `dpo`, `reward`) packs the examples of an optimizer step into rows
and computes their loss. `step_batches` splits the examples into steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lib.modeling.packed.packing import PackedBatch
from lib.training.settings import TrainingSettings

Metrics = dict[str, float]


@dataclass(frozen=True)
class PackedRow:
    """One packed row of an optimizer step, and its examples."""

    batch: PackedBatch
    examples: tuple[int, ...]


class ExampleGroup(NamedTuple):
    """Examples that are computed together, and their tokens in a packed row."""

    examples: list[int]
    tokens: int


class Objective(Protocol):
    """A task as the loop sees it; examples are indices into its data."""

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Examples that shuffling keeps together."""

    def rows(self, examples: Sequence[int], device: torch.device) -> Sequence[PackedRow]:
        """Pack the examples of one optimizer step (or of an evaluation) into rows."""

    def weight(self, examples: Sequence[int]) -> float:
        """The denominator of the mean loss: response tokens (SFT) or pairs (DPO)."""

    def loss(self, model: PreTrainedModel, row: Any) -> tuple[Tensor, Metrics]:
        """Loss and metrics of one of its `rows`, summed; the loop divides both by the weight."""

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """The examples in groups that share computation and stay on one process."""

    def tokens(self, examples: Sequence[int]) -> int:
        """Tokens of the examples as TRL counts them: a pair's prompt in both of its sequences."""

    def key(self) -> str:
        """Hash of all that the loss depends on, the data and more."""

    def means(self, sums: Metrics, weight: float) -> Metrics:
        """A step's metrics from their sums over its rows, and from the step's weight."""


class MeanMetrics:
    """What most objectives do: each metric, like the loss, is a mean over the step's weight."""

    def means(self, sums: Metrics, weight: float) -> Metrics:
        """The sums divided by the weight."""
        return {name: value / weight for name, value in sums.items()}


class RowLoss(nn.Module):
    """An objective's loss as a module's forward, because FSDP gathers weights for a forward."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, row: PackedRow) -> tuple[Tensor, Metrics]:
        """The objective's summed loss of a row, and its metrics."""
        return objective.loss(self.model, row)


def step_batches(groups: Sequence[Sequence[int]], settings: TrainingSettings,
                 seed: int) -> list[list[int]]:
    """The examples of every optimizer step; an epoch's last step may have fewer than the others.

    Every epoch has another order of the groups, unless the settings keep the examples' own. A part
    of such an epoch takes examples at equal distances, so that it too goes from first to last.
    """
    batches: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        shuffled = torch.randperm(len(groups), generator=generator).tolist()
        order = [example for group in shuffled for example in groups[group]]
        count = max(1, round(min(1.0, settings.epochs - epoch) * len(order)))
        order = ([i * len(order) // count for i in range(count)] if settings.keeps_order
                 else order[:count])
        batches += [order[i:i + settings.batch_size]
                    for i in range(0, len(order), settings.batch_size)]
    return batches
