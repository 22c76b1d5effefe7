"""Gradients of the token embeddings, added directly to the optimizer's float32 masters.

Each packed row uses a tied embedding of 49,152 rows twice, as lookup and as vocabulary head.
Autograd would make two dense gradients of its size and their sum. Where the trainer names a float32
master (`set_master`; a float32 parameter is its own), both uses add to the master's gradient
instead: the head block by block, the lookup only in the rows that it read.
"""

from typing import Any, overload

import torch
from torch import Tensor, nn


def set_master(parameter: Tensor, master: Tensor | None) -> None:
    """Set the float32 tensor whose gradient takes this parameter's; None for no such tensor."""
    parameter.float32_master = master  # type: ignore[attr-defined]  # a mark of ours


def master_of(parameter: Tensor) -> Tensor | None:
    """The float32 tensor of `set_master`, if any."""
    return getattr(parameter, "float32_master", None)


@overload
def direct_gradient(master: None) -> None: ...


@overload
def direct_gradient(master: Tensor) -> Tensor: ...


def direct_gradient(master: Tensor | None) -> Tensor | None:
    """The master's float32 gradient, zeros on first use, to add to in place; None without one."""
    if master is not None and master.grad is None:
        master.grad = torch.zeros_like(master)
    return None if master is None else master.grad


class _Lookup(torch.autograd.Function):
    """weight[ids] whose backward adds to the master's gradient."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None) -> Tensor:
        """Rows of weight [vocabulary, width] at ids [...]: [..., width]."""
        ctx.save_for_backward(ids)
        ctx.master, ctx.padding = master_of(weight), padding
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        """Add grad [..., width] to the rows of the master's gradient that were read."""
        ids = ctx.saved_tensors[0].flatten()
        rows = grad.reshape(len(ids), -1).float()
        if ctx.padding is not None:  # as nn.Embedding does
            rows[ids == ctx.padding] = 0.0
        total = direct_gradient(ctx.master)
        if rows.is_cuda:  # where index_add_ adds in any order
            total.index_put_((ids,), rows, accumulate=True)
        else:
            total.index_add_(0, ids, rows)
        return None, None, None


def embed(embedding: nn.Module, ids: Tensor) -> Tensor | None:
    """Token embeddings of `ids`, [..., width]; None where the model must look them up itself.

    That is the case for weights without a master (frozen ones, shards) and for layers that do more
    than a lookup (Gemma scales).
    """
    if (type(embedding) is not nn.Embedding or not torch.is_grad_enabled()
            or master_of(embedding.weight) is None):
        return None
    return _Lookup.apply(ids, embedding.weight, embedding.padding_idx)
