"""Norms and gated layers that keep less for their backward, with the forward's bits unchanged.

As transformers writes them, an RMS norm leaves three float32 copies of its input to autograd and a
gated MLP its activated gate; at 135M parameters that is a quarter of what a training step keeps.
Here the norm keeps its input and one number a token (Zhang & Sennrich 2019, eq. 4, differentiated
by hand), and the gate's activation is computed again. Layers of another form stay as they are.
"""

from types import MethodType

import torch
from torch import Tensor, nn
from transformers.activations import SiLUActivation

NORMS = ("LlamaRMSNorm", "Qwen2RMSNorm")  # weight * x / rms(x), float32 inside
GATED = ("LlamaMLP", "Qwen2MLP")  # down(act(gate(x)) * up(x))


class _RMSNorm(torch.autograd.Function):
    """weight * (x / rms(x)), with x [..., width] and the statistics in float32."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:  # noqa: ANN001
        """The normalised input in its own dtype, times the weight: [..., width]."""
        exact = hidden.float()
        scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)  # [..., 1]
        ctx.save_for_backward(hidden, weight, scale)
        return weight * (exact * scale).to(hidden.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN001
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


class _SiluGate(torch.autograd.Function):
    """silu(gate) * up; the activation is computed again in the backward."""

    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor) -> Tensor:  # noqa: ANN001
        """Both are [..., width]."""
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate) * up

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN001
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        grad_up = nn.functional.silu(gate).mul_(grad)
        grad_gate = grad * up
        torch.ops.aten.silu_backward.grad_input(grad_gate, gate, grad_input=grad_gate)
        return grad_gate, grad_up


def keep_less(model: nn.Module) -> None:
    """Let the model's norms and gated layers of a known form keep less; others are left alone."""
    for module in model.modules():
        name = type(module).__name__
        if name in NORMS:
            module.forward = MethodType(_norm_forward, module)
        elif name in GATED and isinstance(module.act_fn, (nn.SiLU, SiLUActivation)):
            module.forward = MethodType(_gated_forward, module)


def _norm_forward(norm: nn.Module, hidden: Tensor) -> Tensor:
    return _RMSNorm.apply(hidden, norm.weight, norm.variance_epsilon)


def _gated_forward(layer: nn.Module, hidden: Tensor) -> Tensor:
    return layer.down_proj(_SiluGate.apply(layer.gate_proj(hidden), layer.up_proj(hidden)))
