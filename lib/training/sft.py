"""Supervised fine-tuning: -log p of response tokens, all tokens of a step weighing the same.

The step's loss is (sum over all its rows) / (response tokens of the whole step), so that a short
answer does not weigh more than a long one and accumulation equals one big batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib.data.chat import Encoded, truncate
from lib.data.tokens import conversation_ids, with_ids
from lib.modeling.packed.logps import response_token_logps
from lib.modeling.packed.packing import Tree, collate, pack
from lib.runtime.files import sha256_of_values
from lib.training.objective import Metrics, Row
from lib.training.parallel.processes import Unit


class SFTObjective:
    """Conversations as packed sequences; see `lib.training.objective.Objective`."""

    def __init__(self, sequences: Sequence[Tree], token_budget: int) -> None:
        refuse_long_trees(sequences, token_budget)
        self.sequences, self.token_budget = sequences, token_budget
        self.groups = [[index] for index in range(len(sequences))]
        self._weights = [sum(tree.masks[0]) for tree in sequences]

    def rows(self, examples: Sequence[int], device: torch.device) -> list[Row]:
        """Whole sequences side by side, at most `token_budget` tokens a row."""
        packed = pack([len(self.sequences[i]) for i in examples], self.token_budget)
        chosen = [[examples[i] for i in row] for row in packed]
        return [Row(collate([self.sequences[i] for i in row], device), tuple(row))
                for row in chosen]

    def weight(self, examples: Sequence[int]) -> float:
        """Response tokens of the examples."""
        return sum(self._weights[i] for i in examples)

    def units(self, examples: Sequence[int]) -> list[Unit]:
        """Every sequence by itself."""
        return [([i], len(self.sequences[i])) for i in examples]

    def tokens(self, examples: Sequence[int]) -> int:
        """All tokens of the examples."""
        return sum(len(self.sequences[i]) for i in examples)

    def loss(self, model: nn.Module, row: Row) -> tuple[Tensor, Metrics]:
        """Summed negative log-likelihood of the row's response tokens."""
        return -response_token_logps(model, row.batch).sum(), {}

    def key(self) -> str:
        """Hash of the token ids and masks."""
        return sha256_of_values([t.prompt, t.branches, t.masks] for t in self.sequences)


def encode_sft(rows: Sequence[dict[str, Any]], tokenizer: Any, max_length: int) -> list[Tree]:
    """SFT rows as trees with one branch; the mask is 1 on every assistant turn's tokens.

    Ids that the data stage stored are used.
    """
    encoded = [truncate(Encoded(row["input_ids"], row["response_mask"]), max_length)
               for row in with_ids(rows, tokenizer, conversation_ids)]
    return [Tree((), (tuple(e.input_ids),), (tuple(e.response_mask),)) for e in encoded]


def refuse_long_trees(trees: Sequence[Tree], token_budget: int) -> None:
    """Raise ValueError naming the first tree that is longer than a row may be."""
    for index, tree in enumerate(trees):
        if len(tree) > token_budget:
            raise ValueError(f"row {index} has {len(tree)} tokens, more than token_budget="
                             f"{token_budget}; raise token_budget or lower max_length")
