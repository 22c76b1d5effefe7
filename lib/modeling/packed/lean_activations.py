"""Norms and gated layers that keep less for their backward, with the forward's bits unchanged.

For the backward, transformers' RMS norm keeps three float32 copies of its input, and its gated MLP
the activated gate and the product: a third of a training step's activations at 135M parameters.
Here the norm keeps its input and one number a token (Zhang & Sennrich 2019, eq. 4, differentiated
by hand), and the MLP computes the gated product again. Other layers do not change.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation

NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm")  # weight * x / rms(x), float32 inside
SHIFTED_NORMS = ("Gemma3RMSNorm",)  # x / rms(x) * (1 + weight), all in float32
GATED = ("LlamaMLP", "Qwen2MLP")  # down(act(gate(x)) * up(x))


class _RMSNorm(torch.autograd.Function):
    """weight * (x / rms(x)), with x [..., width] and the statistics in float32."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """The normalised input in its own dtype, times the weight: [..., width]."""
        exact = hidden.float()
        scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)  # [..., 1]
        ctx.save_for_backward(hidden, weight, scale)
        return weight * (exact * scale).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the input and of the weight."""
        hidden, weight, scale = ctx.saved_tensors
        normed = hidden.float().mul_(scale)  # [..., width]
        grad_weight = None
        if ctx.needs_input_grad[1]:
            products = grad.flatten(0, -2).float() * normed.flatten(0, -2)
            grad_weight = products.sum(0).to(weight.dtype)
        inner = (grad * weight).float()
        along = (inner * normed).mean(-1, keepdim=True)
        grad_hidden = inner.addcmul_(normed, along, value=-1).mul_(scale)
        return grad_hidden.to(hidden.dtype), grad_weight, None


class _ShiftedRMSNorm(torch.autograd.Function):
    """x / rms(x) * (1 + weight) in float32, rounded once: Gemma's norm; shapes as above."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """The normalised input times 1 + weight, in the input's dtype: [..., width]."""
        exact = hidden.float()
        scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)  # [..., 1]
        ctx.save_for_backward(hidden, weight, scale)
        return (exact * scale).mul_(1.0 + weight.float()).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the input and of the weight."""
        hidden, weight, scale = ctx.saved_tensors
        normed = hidden.float().mul_(scale)  # [..., width]
        grad_weight = None
        if ctx.needs_input_grad[1]:
            products = grad.flatten(0, -2).float() * normed.flatten(0, -2)
            grad_weight = products.sum(0).to(weight.dtype)
        inner = grad.float() * (1.0 + weight.float())
        along = (inner * normed).mean(-1, keepdim=True)
        grad_hidden = inner.addcmul_(normed, along, value=-1).mul_(scale)
        return grad_hidden.to(hidden.dtype), grad_weight, None


class _GatedDown(torch.autograd.Function):
    """(silu(gate) * up) weight^T; the product is computed again in the backward."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        """gate and up are [..., inner], weight [width, inner]: [..., width]."""
        ctx.save_for_backward(gate, up, weight)
        return nn.functional.linear(nn.functional.silu(gate).mul_(up), weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Gradients of gate, up and weight."""
        gate, up, weight = ctx.saved_tensors
        active, grad_weight = nn.functional.silu(gate), None
        if ctx.needs_input_grad[2]:
            grad_weight = grad.flatten(0, -2).T @ (active * up).flatten(0, -2)
        inner = grad @ weight
        grad_up = active.mul_(inner)
        grad_gate = inner.mul_(up)
        torch.ops.aten.silu_backward.grad_input(grad_gate, gate, grad_input=grad_gate)
        return grad_gate, grad_up, grad_weight


def recompute_norms_and_mlps(model: PreTrainedModel) -> None:
    """Let norms and gated layers of a known form recompute; other layers do not change."""
    for module in model.modules():
        name = type(module).__name__
        if name in NORMS:
            module.forward = MethodType(_norm_forward, module)
        elif name in SHIFTED_NORMS:
            module.forward = MethodType(_shifted_norm_forward, module)
        elif name in GATED and _is_plain(module):
            module.forward = MethodType(_gated_forward, module)


def _is_plain(gated: nn.Module) -> bool:
    """Whether the layer gates by SiLU and its last product has no bias and no adapter."""
    down = gated.down_proj
    return (isinstance(gated.act_fn, (nn.SiLU, SiLUActivation)) and type(down) is nn.Linear
            and down.bias is None)


def _norm_forward(norm: nn.Module, hidden: Tensor) -> Tensor:
    return _RMSNorm.apply(hidden, norm.weight, norm.variance_epsilon)


def _shifted_norm_forward(norm: nn.Module, hidden: Tensor) -> Tensor:
    return _ShiftedRMSNorm.apply(hidden, norm.weight, norm.eps)


def _gated_forward(layer: Any, hidden: Tensor) -> Tensor:
    return _GatedDown.apply(layer.gate_proj(hidden), layer.up_proj(hidden), layer.down_proj.weight)
