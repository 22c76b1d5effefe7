"""A process's rows of a step, and an objective's mean loss and metrics over all its examples."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from lib.runtime.threads import leave_taken_cores
from lib.training.objective import Metrics, Objective, PackedRow, RowLoss
from lib.training.processes import ALONE, Processes


def own_rows(objective: Objective, examples: Sequence[int], device: torch.device,
             processes: Processes) -> list[tuple[PackedRow, bool]]:
    """This process's rows of a step, and whether each is a filler.

    Ranks compute a layer of a sharded model together, so all need equally many rows; a rank with
    fewer repeats the step's shortest group as a filler.
    """
    groups = objective.computed_together(examples)
    rows = [(row, False) for row in objective.rows(processes.part(groups), device)]
    if not processes.sharded:
        return rows
    missing = max(processes.gather(len(rows))) - len(rows)
    shortest = min(groups, key=lambda group: group.tokens)
    filler = objective.rows(shortest.examples, device)[0]
    return rows + [(filler, True)] * missing


def evaluate(model: PreTrainedModel | RowLoss, objective: Objective, device: torch.device,
             processes: Processes = ALONE) -> Metrics:
    """Mean loss and metrics over all examples of an objective, without gradients.

    model: a language model, or the RowLoss around one.
    """
    loss_of = model if isinstance(model, RowLoss) else RowLoss(model)
    examples = [example for group in objective.groups for example in group]
    sums: Metrics = {}
    with torch.no_grad():
        for row, is_filler in own_rows(objective, examples, device, processes):
            leave_taken_cores()
            loss, metrics = loss_of(objective, row)
            add_to(sums, {} if is_filler else metrics | {"loss": loss.item()})
    sums = processes.total(sums)
    return objective.means(sums, objective.weight(examples)) | {"n": len(examples)}


def add_to(sums: Metrics, metrics: Metrics) -> None:
    """Add each metric to its sum."""
    for name, value in metrics.items():
        sums[name] = sums.get(name, 0.0) + value
