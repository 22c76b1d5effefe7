"""The layers of a Llama-like model, written for reading: the same numbers in fewer operations.

Beside the products, a pass in bfloat16 spends most of its time in small operations. Here one
product gives queries, keys and values, which are rotated together, another gives gate and up, and
a norm is two calls; each number is rounded where transformers rounds it. Models of another form
keep transformers' layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lib.inference.engine.lean_decoder import has_known_form, merged_products
from lib.modeling.packed.logps import decoder_of
from lib.modeling.packed.own_forward import has_own_forward
from lib.modeling.packed.packing import Layout


@contextmanager
def lean_layers(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the layers of a Llama or Qwen2 decoder read packed rows by `_forward`."""
    decoder: Any = decoder_of(model)
    if has_own_forward(model) or not has_known_form(decoder):
        yield
        return
    with merged_products(decoder):
        try:
            for layer in decoder.layers:
                layer.forward = MethodType(_forward, layer)
            yield
        finally:
            for layer in decoder.layers:
                layer.__dict__.pop("forward", None)


def _forward(layer: Any, hidden: Tensor, position_embeddings: tuple[Tensor, Tensor],
             layout: Layout, **_: object) -> Tensor:
    """A layer's output for a packed row, [1, T, width]."""
    normed = _normed(layer.input_layernorm, hidden)
    hidden = hidden + _attended(layer.self_attn, normed, position_embeddings, layout)
    normed = _normed(layer.post_attention_layernorm, hidden)
    gate, up = layer.mlp.gate_up_proj(normed).chunk(2, -1)
    return hidden + layer.mlp.down_proj(silu(gate).mul_(up))


def _attended(attention: Any, normed: Tensor, rotation: tuple[Tensor, Tensor],
              layout: Layout) -> Tensor:
    """Attention of a packed row, [1, T, width]; rotation as in Su et al. 2021, eq. 34."""
    dim, (cos, sin) = attention.head_dim, (each[:, :, None] for each in rotation)
    sin = torch.cat((-sin[..., :dim // 2], sin[..., dim // 2:]), -1)
    heads = attention.qkv_proj(normed).unflatten(-1, (-1, dim))  # [1, T, heads, dim]
    kv_heads = heads.shape[2] // (attention.num_key_value_groups + 2)
    rotated, value = heads[:, :, :-kv_heads], heads[:, :, -kv_heads:]
    rotated = (rotated * cos).add_(rotated.roll(dim // 2, -1).mul_(sin))
    query, key = rotated[:, :, :-kv_heads], rotated[:, :, -kv_heads:]
    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    out, _ = attend(attention, query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
                    None, layout=layout, scaling=attention.scaling,
                    sliding_window=getattr(attention, "sliding_window", None))
    return attention.o_proj(out.flatten(2))


def _normed(norm: Any, hidden: Tensor) -> Tensor:
    return norm.weight * rms_norm(hidden, hidden.shape[-1:], None, norm.variance_epsilon)
