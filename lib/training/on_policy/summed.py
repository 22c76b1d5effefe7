"""Two objectives in one step: their gradients add up before the update.

The sum of mean losses, such as DPO's over its pairs and lambda times RLOO's over its answers, is
taken over steps that hold examples of both in the proportion of the whole. (Steps of one and the
other in turn are another method: AdamW normalises each step's gradient by itself.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.runtime.files import sha256_of_value
from lib.training.objective import ExampleGroup, Metrics, Objective, PackedRow


@dataclass(frozen=True)
class SummedRow(PackedRow):
    """A row of one part: its name, and the row as the part packed it."""

    part: str
    own: PackedRow


def interleave(groups: Mapping[str, Sequence[Sequence[int]]]) -> list[list[int]]:
    """Groups that hold examples of all parts in the proportion of the whole.

    The examples of the second part are numbered on after those of the first. Where the parts have
    a and b groups, there are min(a, b) of these.
    """
    count, ranges = min(map(len, groups.values())), ranges_of(groups)
    return [[ranges[name][example] for name, own in groups.items()
             for group in own[place::count] for example in group] for place in range(count)]


def ranges_of(groups: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, range]:
    """The numbers that the examples of each part have in the whole."""
    sizes = [sum(map(len, own)) for own in groups.values()]
    ends = list(accumulate(sizes))
    return {name: range(end - size, end)
            for name, size, end in zip(groups, sizes, ends, strict=True)}


def own_examples(examples: Sequence[int], ranges: Mapping[str, range]) -> dict[str, list[int]]:
    """The examples of each part, by its own numbers."""
    return {name: [own.index(example) for example in examples if example in own]
            for name, own in ranges.items()}


class SummedObjective:
    """The sum over parts of coefficient times mean loss; see `lib.training.objective.Objective`.

    parts: name -> (objective, coefficient). With N examples in all, of which n are in a step, and
    W the weight of all of a part's examples, the step's loss is N / n times the sum of coefficient
    * loss / W over its examples: without bias, and exact for a step with everything in it.
    """

    def __init__(self, parts: Mapping[str, tuple[Objective, float]]) -> None:
        self.parts = parts
        self.groups = interleave({name: part.groups for name, (part, _) in parts.items()})
        self.ranges = ranges_of({name: part.groups for name, (part, _) in parts.items()})
        self.count = sum(map(len, self.ranges.values()))
        self.scale = {name: coefficient / part.weight(range(len(self.ranges[name])))
                      for name, (part, coefficient) in parts.items()}

    def rows(self, examples: Sequence[int], device: torch.device) -> list[PackedRow]:
        """The rows of each part."""
        return [SummedRow(row.batch, tuple(self.ranges[name][i] for i in row.examples), name, row)
                for name, own in own_examples(examples, self.ranges).items() if own
                for row in self.parts[name][0].rows(own, device)]

    def weight(self, examples: Sequence[int]) -> float:
        """The share of all examples, n / N."""
        return len(examples) / self.count

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """What each part computes together."""
        return [ExampleGroup([self.ranges[name][i] for i in group.examples], group.tokens)
                for name, own in own_examples(examples, self.ranges).items() if own
                for group in self.parts[name][0].computed_together(own)]

    def tokens(self, examples: Sequence[int]) -> int:
        """Tokens of the examples of all parts."""
        return sum(self.parts[name][0].tokens(own)
                   for name, own in own_examples(examples, self.ranges).items())

    def loss(self, model: PreTrainedModel, row: SummedRow) -> tuple[Tensor, Metrics]:
        """The row's loss, scaled, and its part's sums under "part:name"."""
        part, _ = self.parts[row.part]
        loss, sums = part.loss(model, row.own)
        sums = sums | {"loss": loss.item(), "weight": part.weight(row.own.examples)}
        return loss * self.scale[row.part], {f"{row.part}:{name}": value
                                             for name, value in sums.items()}

    def means(self, sums: Mapping[str, float], weight: float) -> Metrics:
        """The loss, each part's loss under "loss/part", and the parts' own metrics."""
        found = {"loss": sums["loss"] / weight}
        for name, (part, _) in self.parts.items():
            own = {key.removeprefix(f"{name}:"): value for key, value in sums.items()
                   if key.startswith(f"{name}:")}
            if own:
                own_weight = own.pop("weight")
                means = part.means(own, own_weight)
                found |= {f"loss/{name}": means.pop("loss")} | means
        return found

    def key(self) -> str:
        """Hash of the parts' keys and coefficients."""
        return sha256_of_value({name: [part.key(), coefficient]
                                for name, (part, coefficient) in self.parts.items()})
