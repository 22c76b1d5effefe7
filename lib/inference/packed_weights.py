"""Weights laid out once for the CPU's bf16 products, while a model samples.

oneDNN multiplies in a blocked layout of its own and reorders plain weights in every call. That is
nothing beside the thousands of rows of a training step, and a third of the time of the few rows of
a decoding step. The results are equal to the last bit, whatever the number of rows (tested).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

ROWS = 64  # the number of rows that the layout is made for


@contextmanager
def packed_weights(model: nn.Module) -> Iterator[None]:
    """Inside, the model's linear layers multiply by packed copies; bf16 on CPU, else no change.

    The copies take as much memory as the layers and are gone afterwards.
    """
    layers = [module for module in model.modules() if _packable(module)]
    try:
        for layer in layers:
            layer.forward = _packed_forward(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _packable(module: nn.Module) -> bool:
    return (type(module) is nn.Linear and module.weight.device.type == "cpu"
            and module.weight.dtype == torch.bfloat16 and "forward" not in vars(module)
            and bf16_products())


def bf16_products() -> bool:
    """Whether oneDNN multiplies bf16 on this processor."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _packed_forward(layer: nn.Linear):  # noqa: ANN202
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
    bias = None if layer.bias is None else layer.bias.detach()

    def forward(hidden: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")
    return forward
