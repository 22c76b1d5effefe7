"""Weights in the layout of oneDNN's products while a model samples on CPU.

oneDNN multiplies in a blocked layout and reorders plain bf16 weights in every call. Reordering
costs nothing beside the thousands of rows of a training step, but a third of the time of the few
rows of a decoding step; prepacked weights give the same results to the last bit. In fp32 PyTorch
multiplies by MKL, whose results for a row change with the number of rows; oneDNN's do not.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import Tensor, nn

from lib.runtime.devices import release_memory

ROWS = 64  # the number of rows that the layout is made for


@contextmanager
def prepacked_weights(model: nn.Module) -> Iterator[None]:
    """Inside, linear layers on CPU multiply by prepacked weights; on other devices nothing changes.

    Prepacked weights replace the plain ones, which the end restores bit for bit; only a weight with
    a second use (a tied vocabulary head) is kept in both layouts.
    """
    users = Counter(id(weight) for module in model.modules()
                    if (weight := getattr(module, "weight", None)) is not None)
    layers = [module for module in model.modules() if _prepackable(module)]
    prepacked: dict[nn.Linear, Tensor] = {}
    try:
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
            vars(layer)["forward"] = _prepacked_forward(weight, layer.bias)
            if users[id(layer.weight)] == 1:
                prepacked[layer] = weight
                with torch.inference_mode(False):  # the parameter stays trainable
                    layer.weight.data = layer.weight.new_empty(0)
        release_memory()  # of the plain weights
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)
        release_memory()  # of the cache, before plain weights are made again
        with torch.inference_mode(False):
            while prepacked:  # one after the other, so that memory never holds all of them twice
                layer, weight = prepacked.popitem()
                layer.weight.data = weight.to_dense()


def _prepackable(module: nn.Module) -> TypeGuard[nn.Linear]:
    return (type(module) is nn.Linear and module.weight.device.type == "cpu"
            and module.weight.numel() > 0 and "forward" not in vars(module)
            and onednn_multiplies(module.weight.dtype))


def onednn_multiplies(dtype: torch.dtype) -> bool:
    """Whether oneDNN has products of this dtype on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16
                                      and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _prepacked_forward(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    bias = None if bias is None else bias.detach()

    def forward(hidden: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")
    return forward
