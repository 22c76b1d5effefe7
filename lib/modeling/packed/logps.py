"""Log-probabilities of response tokens, of sequences, and what a model has for them.

The vocabulary head runs only where it predicts a response token (`token_logps`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.packed.gradients import embed
from lib.modeling.packed.head_blocks import head_logits
from lib.modeling.packed.own_forward import (
    has_own_forward,
    own_hidden,
    own_response_logits,
    own_response_logps,
    without_adapter,
)
from lib.modeling.packed.packing import PackedBatch
from lib.modeling.packed.token_logps import token_logps

LOGIT_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier")  # in configurations


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The stack of layers without the vocabulary head, also inside a PEFT wrapper."""
    inner = without_adapter(model)
    found: tuple[Any, ...] = (inner.get_decoder(), inner.base_model,
                              getattr(inner, "model", inner))
    return next((decoder for decoder in found if decoder is not inner), inner)


def input_table(model: PreTrainedModel) -> Tensor:
    """The embedding of each token of the vocabulary, [vocabulary, width]."""
    embedding: Any = model.get_input_embeddings()
    return embedding.weight


class Head(NamedTuple):
    """The vocabulary head: softcap(scale * (hidden weight^T + bias))."""

    weight: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [R, width] -> logits [R, vocabulary]."""
        return head_logits(*self.scaled(hidden), self.softcap)

    def scaled(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Hidden states, weight and bias whose product has the scale of the logits."""
        if self.scale == 1:
            return hidden, self.weight, self.bias
        return (hidden * self.scale, self.weight,
                None if self.bias is None else self.bias * self.scale)


def head_of(model: PreTrainedModel) -> Head:
    """The model's head with the scale (Granite, Cohere) and bound (Gemma 2) of its logits."""
    layer, config = model.get_output_embeddings(), model.config.get_text_config()
    scale = 1.0
    for name in LOGIT_SCALES:
        if isinstance(value := getattr(config, name, None), int | float):
            scale *= 1 / value if name == "logits_scaling" else value
    return Head(layer.weight, getattr(layer, "bias", None), scale,
                getattr(config, "final_logit_softcapping", None))


def packed_hidden(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Last hidden state (after the final norm) of every token of the row, [T, width]."""
    decoder = decoder_of(model)
    if has_own_forward(model):
        return own_hidden(decoder, batch)
    embedded = embed(decoder.get_input_embeddings(), batch.input_ids)
    ids = {"input_ids": batch.input_ids} if embedded is None else {"inputs_embeds": embedded}
    out = decoder(**ids, position_ids=batch.position_ids, use_cache=False, layout=batch.layout)
    return out.last_hidden_state[0]


def response_logits(model: PreTrainedModel, batch: PackedBatch) -> Callable[[slice], Tensor]:
    """Gives the logits that predict a slice of the row's response tokens, [n, vocabulary]."""
    if has_own_forward(model):
        logits = torch.cat(list(own_response_logits(model, batch)))
        return lambda piece: logits[piece]
    hidden, head = packed_hidden(model, batch)[batch.predict_from], head_of(model)
    return lambda piece: head.logits(hidden[piece])


def response_token_logps(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Log-probability of every response token of the row, float32 [R]."""
    if has_own_forward(model):
        return own_response_logps(model, batch)
    hidden, head = packed_hidden(model, batch)[batch.predict_from], head_of(model)
    return token_logps(*head.scaled(hidden), batch.targets, head.softcap)


def sequence_sums(values: Tensor, batch: PackedBatch) -> Tensor:
    """Sum a value of each response token over its answer: [R] -> [S]."""
    sums = values.new_zeros(batch.answers)
    if values.is_cuda:  # where index_add adds in any order, so that equal rows differ in a bit
        return sums.index_put((batch.answer_of,), values, accumulate=True)
    return sums.index_add(0, batch.answer_of, values)


def response_logps(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """log p(answer | prompt), summed over response tokens, float32 [S], in the row's order."""
    return sequence_sums(response_token_logps(model, batch), batch)
