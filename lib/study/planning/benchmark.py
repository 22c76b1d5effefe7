"""How fast this machine trains: two decoder layers of a model's width, for a moment."""

import time
from typing import TYPE_CHECKING

from lib.runtime.devices import Device
from lib.study.planning.memory import Shape

if TYPE_CHECKING:
    from torch import Tensor

LAYERS, ROWS, TOKENS = 2, 4, 256
SECONDS = 0.3


def training_rate(shape: Shape, device: Device, seconds: float = SECONDS) -> float:
    """Operations a second of forward and backward (6 a weight and token), on this device.

    The fastest step counts, so that what else the machine does at this moment does not.
    """
    import torch
    kind = {"device": device.device, "dtype": device.dtype}
    layers = [[(torch.randn(size, **kind) / shape.width).requires_grad_()
               for size in _sizes(shape)] for _ in range(LAYERS)]
    hidden = torch.randn(ROWS, TOKENS, shape.width, **kind)
    operations = 6 * sum(w.numel() for layer in layers for w in layer) * ROWS * TOKENS
    _step(hidden, layers, shape)  # kernels are chosen and compiled here
    started, fastest = time.perf_counter(), float("inf")
    while (now := time.perf_counter()) - started < seconds:
        _step(hidden, layers, shape)
        fastest = min(fastest, time.perf_counter() - now)
    return operations / fastest


def _sizes(shape: Shape) -> list[tuple[int, int]]:
    """[out, in] of the queries', keys', values' and output's weights, then of gate, up and down."""
    width, inner = shape.width, shape.intermediate
    return [(width, width), (shape.kv_width, width), (shape.kv_width, width), (width, width),
            (inner, width), (inner, width), (width, inner)]


def _step(hidden: "Tensor", layers: list[list["Tensor"]], shape: Shape) -> None:
    for layer in layers:
        hidden = _layer(hidden, layer, shape.width // shape.heads)
    loss = hidden.square().sum()
    loss.backward()
    loss.item()  # waits for the GPU


def _layer(hidden: "Tensor", weights: list["Tensor"], head: int) -> "Tensor":
    """Attention and gated MLP without norms; [rows, tokens, width] in and out."""
    from torch.nn.functional import linear, scaled_dot_product_attention, silu
    *attention, output, gate, up, down = weights
    queries, keys, values = (linear(hidden, weight).unflatten(-1, (-1, head)).transpose(1, 2)
                             for weight in attention)  # [rows, heads, tokens, head]
    mixed = scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
    hidden = hidden + linear(mixed.transpose(1, 2).flatten(2), output)
    return hidden + linear(silu(linear(hidden, gate)) * linear(hidden, up), down)
