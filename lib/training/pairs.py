"""Preference pairs as token ids, and how they are packed so that pairs share their prompt.

Within one optimizer step the prompt of several pairs is computed once, every distinct answer once,
and each pair picks its two answers from the row. Used by `lib.training.dpo`, `reference` and
`reward`.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.data.tokens import pair_ids, with_ids
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.files import Record, sha256_of_values
from lib.training.objective import ExampleGroup, MeanMetrics, Metrics, PackedRow
from lib.training.settings import TrainingSettings


@dataclass(frozen=True)
class Pair:
    """One preference as token ids; `score_gap` is chosen minus rejected score, if known."""

    id: str
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    score_gap: float | None = None


@dataclass(frozen=True)
class PairRow(PackedRow):
    """A packed row of pairs; chosen, rejected: [pairs], positions among the row's S answers."""

    chosen: Tensor
    rejected: Tensor


def encode_pairs(rows: Sequence[Record], tokenizer: Any, max_length: int) -> list[Pair]:
    """Preference rows as token ids, those that the data stage stored where it did.

    Answers end where prompt and answer reach `max_length` tokens.
    """
    pairs = []
    for row in with_ids(rows, tokenizer, pair_ids):
        room = max(0, max_length - len(row["prompt_ids"]))
        chosen, rejected = (tuple(row[f"{side}_ids"][:room]) for side in ("chosen", "rejected"))
        pairs.append(Pair(row["id"], tuple(row["prompt_ids"]), chosen, rejected, score_gap(row)))
    return pairs


def score_gap(row: Record) -> float | None:
    """Score of a row's chosen answer minus that of the rejected one; None without scores."""
    chosen, rejected = row.get("score_chosen"), row.get("score_rejected")
    return None if chosen is None or rejected is None else chosen - rejected


def score_gaps(pairs: Sequence[Pair], setting: str) -> Tensor:
    """Score gap of each pair, [pairs]; raises ValueError where one lacks what `setting` needs."""
    for pair in pairs:
        if pair.score_gap is None:
            raise ValueError(f"pair {pair.id} has no scores; {setting} needs score_chosen and "
                             "score_rejected on every row: add them, or do without it")
    return torch.tensor([pair.score_gap for pair in pairs])


def pairs_hash(pairs: Sequence[Pair]) -> str:
    """Hash of the pairs' ids and tokens."""
    return sha256_of_values([p.id, p.prompt, p.chosen, p.rejected] for p in pairs)


def group_by_prompt(pairs: Sequence[Pair], examples: Sequence[int] | None = None,
                    ) -> list[list[int]]:
    """Indices of pairs (all by default) by prompt, in order of first appearance."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in range(len(pairs)) if examples is None else examples:
        groups[pairs[index].prompt].append(index)
    return list(groups.values())


def pair_rows(pairs: Sequence[Pair], examples: Sequence[int], token_budget: int,
              device: torch.device) -> list[PairRow]:
    """Pack pairs into rows; pairs of one prompt share it where they fit the budget together.

    Raises ValueError for a single pair that is longer than the budget.
    """
    groups = _groups(pairs, examples, token_budget)
    return [_row(pairs, [groups[i] for i in row], device)
            for row in pack([len(shared) for _, shared in groups], token_budget)]


def pairs_together(pairs: Sequence[Pair], examples: Sequence[int],
                   token_budget: int) -> list[ExampleGroup]:
    """Groups of pairs that share a prompt's computation."""
    return [ExampleGroup(group, len(shared))
            for group, shared in _groups(pairs, examples, token_budget)]


def _groups(pairs: Sequence[Pair], examples: Sequence[int],
            token_budget: int) -> list[tuple[list[int], SharedPrompt]]:
    """Examples of one prompt that fit the budget together, and the prompt with their answers."""
    return [part for group in group_by_prompt(pairs, examples)
            for part in _halved(pairs, group, token_budget)]


def _halved(pairs: Sequence[Pair], group: list[int],
            token_budget: int) -> list[tuple[list[int], SharedPrompt]]:
    """The group whole if it fits a row, else halved until it does."""
    answers = dict.fromkeys(a for i in group for a in (pairs[i].chosen, pairs[i].rejected))
    shared = SharedPrompt(pairs[group[0]].prompt, tuple(answers))  # each distinct answer once
    if len(shared) <= token_budget:
        return [(group, shared)]
    if len(group) == 1:
        raise ValueError(f"pair {pairs[group[0]].id} has {len(shared)} tokens, more than "
                         f"token_budget={token_budget}; raise it or lower max_length")
    half = len(group) // 2
    return (_halved(pairs, group[:half], token_budget)
            + _halved(pairs, group[half:], token_budget))


def _row(pairs: Sequence[Pair], groups: Sequence[tuple[list[int], SharedPrompt]],
         device: torch.device) -> PairRow:
    chosen, rejected, examples, offset = [], [], [], 0
    for group, shared in groups:
        place = {answer: offset + number for number, answer in enumerate(shared.answers)}
        chosen += [place[pairs[i].chosen] for i in group]
        rejected += [place[pairs[i].rejected] for i in group]
        examples += group
        offset += len(shared.answers)
    return PairRow(collate([shared for _, shared in groups], device), tuple(examples),
                   torch.tensor(chosen, device=device), torch.tensor(rejected, device=device))


class PairObjective(MeanMetrics, ABC):
    """What objectives on pairs share; see `lib.training.objective.Objective`."""

    def __init__(self, pairs: Sequence[Pair], settings: TrainingSettings) -> None:
        self.pairs, self.settings = pairs, settings
        self.groups = group_by_prompt(pairs)

    def rows(self, examples: Sequence[int], device: torch.device) -> list[PairRow]:
        """Rows of whole pairs; pairs of one prompt share it."""
        return pair_rows(self.pairs, examples, self.settings.token_budget, device)

    def weight(self, examples: Sequence[int]) -> float:
        """Number of pairs."""
        return len(examples)

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """Pairs of one prompt."""
        return pairs_together(self.pairs, examples, self.settings.token_budget)

    def tokens(self, examples: Sequence[int]) -> int:
        """Prompt and answer of both sequences of every pair."""
        return sum(2 * len(self.pairs[i].prompt) + len(self.pairs[i].chosen)
                   + len(self.pairs[i].rejected) for i in examples)

    @abstractmethod
    def rewards(self, model: PreTrainedModel, row: PairRow) -> dict[str, Tensor]:
        """Rewards under `model` of the row's "chosen" and "rejected" answers, [pairs] each.

        An objective may add more values of each pair under other names.
        """


def reward_sums(chosen: Tensor, rejected: Tensor) -> Metrics:
    """TRL's reward metrics from the rewards of both sides [pairs], summed over pairs."""
    sums = {"rewards/chosen": chosen, "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float()}
    return {name: value.sum().item() for name, value in sums.items()}


def pair_rewards(model: PreTrainedModel, objective: PairObjective,
                 device: torch.device) -> list[dict[str, Any]]:
    """Rewards of every pair by a trained model: {"id", "prompt", "chosen", "rejected"}.

    What else the objective's `rewards` give follows. `prompt` is the number of the pair's prompt,
    so that intervals can resample prompts.
    """
    numbers = {example: number for number, group in enumerate(objective.groups)
               for example in group}
    found = []
    with torch.no_grad():
        for row in objective.rows(list(numbers), device):
            rewards = {name: values.tolist() for name, values in
                       objective.rewards(model, row).items()}
            found += [{"id": objective.pairs[example].id, "prompt": numbers[example]}
                      | {name: values[place] for name, values in rewards.items()}
                      for place, example in enumerate(row.examples)]
    return found
