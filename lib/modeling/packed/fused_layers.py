"""Decoder layers whose small operations a GPU computes together, around the attention.

Norms, rotations, gates and sums move more memory than the products of a small model, and each is a
kernel that Python starts. `torch.compile` makes a few kernels of what comes before the attention
and of what follows it, forward and backward; the backward computes cheap parts again instead of
keeping them. Layers of another form, and passes without packed rows, run as they are.
"""

from collections.abc import Callable
from functools import cache
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from transformers.activations import SiLUActivation
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lib.modeling.packed.packing import Layout

LAYERS = ("LlamaDecoderLayer", "Qwen2DecoderLayer")


def fuse_layers(model: nn.Module) -> None:
    """Let each layer of a known form run fused on packed rows, unless an adapter is in it."""
    for layer in model.modules():
        if type(layer).__name__ in LAYERS and isinstance(layer.mlp.act_fn,
                                                         (nn.SiLU, SiLUActivation)):
            layer.forward = MethodType(_forward, layer)


def _forward(layer: nn.Module, hidden_states: Tensor, *,
             position_embeddings: tuple[Tensor, Tensor], layout: Layout | None = None,
             **more: object) -> Tensor:
    """The layer's output [1, T, width] for a packed row of hidden states [1, T, width]."""
    attention, mlp = layer.self_attn, layer.mlp
    first = attention.q_proj, attention.k_proj, attention.v_proj
    last = attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj
    if layout is None or any(type(part) is not nn.Linear for part in (*first, *last)):
        packed = {} if layout is None else {"layout": layout}
        return type(layer).forward(layer, hidden_states, position_embeddings=position_embeddings,
                                   **packed, **more)
    norms = layer.input_layernorm, layer.post_attention_layernorm
    for tensor in (hidden_states, *position_embeddings):
        torch._dynamo.maybe_mark_dynamic(tensor, 1)  # compiled once for every length
    query, key, value = _compiled(_before)(
        hidden_states, *position_embeddings, norms[0].weight, norms[0].variance_epsilon,
        attention.head_dim, *((part.weight, part.bias) for part in first))
    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    attended, _ = attend(attention, query, key, value, None, layout, scaling=attention.scaling,
                         sliding_window=getattr(attention, "sliding_window", None))
    torch._dynamo.maybe_mark_dynamic(attended, 1)
    return _compiled(_after)(hidden_states, attended, norms[1].weight, norms[1].variance_epsilon,
                             *((part.weight, part.bias) for part in last))


@cache
def _compiled(function: Callable) -> Callable:
    return torch.compile(function, fullgraph=True)


def _before(hidden: Tensor, cos: Tensor, sin: Tensor, norm: Tensor, epsilon: float, dim: int,
            *projections: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values: [1, heads, T, dim]; cos and sin are [1, T, dim]."""
    normed = _normed(hidden, norm, epsilon)
    query, key, value = (linear(normed, *part).unflatten(-1, (-1, dim)).transpose(1, 2)
                         for part in projections)
    return _rotated(query, cos, sin), _rotated(key, cos, sin), value


def _after(hidden: Tensor, attended: Tensor, norm: Tensor, epsilon: float,
           out: tuple, gate: tuple, up: tuple, down: tuple) -> Tensor:
    """The layer's output from its input [1, T, width] and its attention [1, T, heads, dim]."""
    hidden = hidden + linear(attended.flatten(2), *out)
    normed = _normed(hidden, norm, epsilon)
    return hidden + linear(silu(linear(normed, *gate)) * linear(normed, *up), *down)


def _normed(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Zhang & Sennrich 2019, eq. 4, with statistics in float32."""
    exact = hidden.float()
    scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * (exact * scale).to(hidden.dtype)


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Su et al. 2021, eq. 34, for heads [1, heads, T, dim]."""
    low, high = heads.chunk(2, -1)
    return heads * cos[:, None] + torch.cat((-high, low), -1) * sin[:, None]
