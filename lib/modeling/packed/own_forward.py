"""The plain path: every answer with its prompt by itself, through the model's own forward and head.

It takes over for models whose attention or head the packed computation cannot express (ALiBi,
recurrent layers): right for any causal model, and slower, because prompts are computed once an
answer and rows hold one sequence. `lib.modeling.load_check` decides which models need it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.packed.packing import PackedBatch


def without_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """The transformers model, also inside a PEFT wrapper."""
    wrapped: Any = model  # PEFT's has a method more
    return wrapped.get_base_model() if hasattr(model, "get_base_model") else model


def use_own_forward(model: PreTrainedModel, attention: str | None) -> None:
    """Let every computation with the model take the plain path, with its own attention."""
    if attention is not None:
        model.set_attn_implementation(attention)
    marked: Any = model  # with an attribute of ours
    marked.own_forward = True


def has_own_forward(model: PreTrainedModel) -> bool:
    """Whether the model takes the plain path."""
    return getattr(without_adapter(model), "own_forward", False)


def sequences(batch: PackedBatch) -> Iterator[Tensor]:
    """For each answer of the row, the places of its prompt's and its own tokens, [tokens]."""
    places = torch.arange(batch.tokens, device=batch.input_ids.device)
    for span in batch.layout.spans[:batch.prompts]:
        for piece in span.answer_slices():
            yield torch.cat((places[span.start:span.start + span.prompt], places[piece]))


def own_response_logits(model: PreTrainedModel, batch: PackedBatch) -> Iterator[Tensor]:
    """For each answer, the model's logits where they predict its response tokens, [n, vocabulary].

    One after the other they are in the order of the row's response tokens.
    """
    for number, index in enumerate(sequences(batch)):
        logits = model(input_ids=batch.input_ids[:, index], use_cache=False).logits[0]
        wanted = batch.predict_from[batch.answer_of == number]
        yield logits[torch.searchsorted(index, wanted)]


def own_response_logps(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Log-probability of every response token of the row, float32 [R]."""
    parts = [logits.float().log_softmax(-1) for logits in own_response_logits(model, batch)]
    return torch.cat([logps.gather(1, batch.targets[batch.answer_of == number, None])[:, 0]
                      for number, logps in enumerate(parts)])


def own_hidden(decoder: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Last hidden state of every token of the row, [T, width]; zero where it is padding."""
    indices = list(sequences(batch))
    states = [decoder(input_ids=batch.input_ids[:, index], use_cache=False).last_hidden_state[0]
              for index in indices]
    hidden = states[0].new_zeros(batch.tokens, states[0].shape[1])
    for index, state in zip(indices, states, strict=True):
        hidden = hidden.index_put((index,), state)
    return hidden
