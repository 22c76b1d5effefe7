"""Supervised fine-tuning: -log p of response tokens, all tokens of a step weighing the same.

The loss of a step is the sum over all its rows, divided by the response tokens of the whole step:
a token of a short answer weighs what one of a long answer weighs, however the rows are packed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.data.chat import Encoded, truncate
from lib.data.tokens import conversation_ids, with_ids
from lib.modeling.packed.logps import response_token_logps
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.files import sha256_of_values
from lib.training import losses
from lib.training.job import Job, ProbeMaker, fit, read_examples, save_trained, set_up
from lib.training.objective import ExampleGroup, MeanMetrics, Metrics, PackedRow
from lib.training.processes import ALONE, Processes


def train_sft(job: Job, processes: Processes = ALONE,
              make_probe: ProbeMaker | None = None) -> None:
    """Fine-tune `job.model` on conversations and write the model; every process calls it.

    Raises FileError, ModelError, TrainingError or ValueError, each one sentence.
    """
    setup = set_up(job, processes)
    rows, held = (read_examples(setup, path, encode_sft) for path in (job.rows, job.validation))
    training, validation = (SFTObjective(part, job.settings.token_budget) for part in (rows, held))
    model, state = fit(setup, training, validation if len(held) else None, make_probe)
    if processes.main:
        save_trained(setup, model, state)


class SFTObjective(MeanMetrics):
    """Conversations as packed sequences; see `lib.training.objective.Objective`.

    Raises ValueError naming the first sequence that is longer than `token_budget`.
    """

    def __init__(self, sequences: Sequence[SharedPrompt], token_budget: int) -> None:
        self.sequences, self.token_budget = sequences, token_budget
        self.groups = [[index] for index in range(len(sequences))]
        self._weights = []
        for index, sequence in enumerate(sequences):
            if len(sequence) > token_budget:
                raise ValueError(f"row {index} has {len(sequence)} tokens, more than token_budget="
                                 f"{token_budget}; raise token_budget or lower max_length")
            self._weights.append(sum(sequence.mask(0)[1:]))  # the first token has no log p

    def rows(self, examples: Sequence[int], device: torch.device) -> list[PackedRow]:
        """Whole sequences side by side, at most `token_budget` tokens a row."""
        packed = pack([len(self.sequences[i]) for i in examples], self.token_budget)
        rows = [tuple(examples[i] for i in row) for row in packed]
        return [PackedRow(collate([self.sequences[i] for i in row], device), row) for row in rows]

    def weight(self, examples: Sequence[int]) -> float:
        """Response tokens of the examples that have a log-probability."""
        return sum(self._weights[i] for i in examples)

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """Every sequence by itself."""
        return [ExampleGroup([i], len(self.sequences[i])) for i in examples]

    def tokens(self, examples: Sequence[int]) -> int:
        """All tokens of the examples."""
        return sum(len(self.sequences[i]) for i in examples)

    def loss(self, model: PreTrainedModel, row: PackedRow) -> tuple[Tensor, Metrics]:
        """Negative log-likelihood of the row's response tokens, summed."""
        logps = response_token_logps(model, row.batch)  # [response tokens of the row]
        # tokens=1: the loop divides by the tokens of the whole step
        return losses.sft_loss(logps, torch.ones_like(logps), tokens=1), {}

    def key(self) -> str:
        """Hash of the token ids and masks."""
        return sha256_of_values([one.prompt, one.answers, one.masks] for one in self.sequences)


def encode_sft(rows: Sequence[dict[str, Any]], tokenizer: Any,
               max_length: int) -> list[SharedPrompt]:
    """SFT rows as single answers to an empty prompt; mask 1 on every assistant turn's tokens.

    Token ids are those that the data stage stored where it did.
    """
    encoded = [truncate(Encoded(row["input_ids"], row["response_mask"]), max_length)
               for row in with_ids(rows, tokenizer, conversation_ids)]
    return [SharedPrompt((), (tuple(e.input_ids),), (tuple(e.response_mask),)) for e in encoded]
