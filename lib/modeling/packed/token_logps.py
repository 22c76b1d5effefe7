"""Log-probabilities of tokens without the logits of a whole batch.

Nothing of size [tokens, vocabulary] is alive at once, but for what a CPU keeps: it takes a block of
the vocabulary at a time (`head_blocks`), another device a chunk of tokens, whose logits the
backward computes again. With a frozen head (LoRA) the forward also makes the hidden state's
gradient of each log-probability, so that the head's largest product, of three, is not repeated.
Log-sum-exps are in float32. With p the softmax and g the gradient of log p[y], the gradients are
g (e_y - p) W for the hidden state and the sum of (e_y - p) outer (g h) for W: g never touches an
array of vocabulary size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lib.modeling.packed import CHUNK_ELEMENTS, LEAST_CHUNK
from lib.modeling.packed.gradients import direct_gradient, master_of
from lib.modeling.packed.head_blocks import BlockedLogps, head_logits, like, log_sum_exp

PAD_TO = 32  # tokens are padded to a multiple, so that oneDNN reuses its compiled primitives


def token_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
                softcap: float | None = None) -> Tensor:
    """Log-probability of `targets` [R] under softmax(hidden @ weight.T + bias), float32 [R].

    hidden: [R, width]; weight: [vocabulary, width], tied or not.
    """
    spare = -len(targets) % PAD_TO
    method = BlockedLogps if hidden.device.type == "cpu" else ChunkedLogps
    logps = method.apply(nn.functional.pad(hidden, (0, 0, 0, spare)), weight, bias,
                         nn.functional.pad(targets, (0, spare)), softcap)
    return logps[:len(targets)]


class ChunkedLogps(torch.autograd.Function):
    """log softmax(head(hidden))[target] for each token; see `token_logps`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None,
                targets: Tensor, softcap: float | None, chunk: int | None = None) -> Tensor:
        """Float32 log-probabilities [R]; shapes as in `token_logps`.

        chunk: tokens at a time; by default their logits have CHUNK_ELEMENTS for any vocabulary.
        """
        ctx.frozen_head = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:3])
        chunk = chunk or max(LEAST_CHUNK, CHUNK_ELEMENTS // len(weight) // PAD_TO * PAD_TO)
        logps = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        slopes = torch.empty_like(hidden) if ctx.frozen_head else None  # of -log p
        for begin in range(0, len(hidden), chunk):
            piece = slice(begin, begin + chunk)
            logits = head_logits(hidden[piece], weight, bias, softcap)
            target_logits = logits.gather(1, targets[piece, None])[:, 0].float()
            logps[piece] = target_logits - log_sum_exp(logits)
            if slopes is not None:
                slopes[piece] = _grad_logits(logits, targets[piece], logps[piece],
                                             softcap).to(hidden.dtype) @ weight
            del logits  # before the next chunk's are made
        ctx.save_for_backward(*((slopes,) if ctx.frozen_head else
                                (hidden, weight, bias, targets, logps)))
        ctx.chunk, ctx.softcap, ctx.master = chunk, softcap, master_of(weight)
        return logps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of hidden, weight and bias from grad [R]; logits are computed again."""
        if ctx.frozen_head:
            slopes, = ctx.saved_tensors
            return (slopes * -grad[:, None]).to(slopes.dtype), None, None, None, None, None
        hidden, weight, bias, targets, logps = ctx.saved_tensors
        needs_weight, neg_grad = ctx.needs_input_grad[1], -grad[:, None]
        direct = direct_gradient(ctx.master) if needs_weight else None
        grad_hidden = torch.empty_like(hidden)
        grad_weight = (direct if direct is not None or not needs_weight
                       else torch.zeros_like(weight, dtype=torch.float32))
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for begin in range(0, len(hidden), ctx.chunk):
            piece = slice(begin, begin + ctx.chunk)
            grad_logits = _grad_logits(head_logits(hidden[piece], weight, bias, ctx.softcap),
                                       targets[piece], logps[piece], ctx.softcap).to(hidden.dtype)
            grad_hidden[piece] = (grad_logits @ weight) * neg_grad[piece]
            if grad_weight is not None:
                _add_products(grad_weight, grad_logits,
                              (hidden[piece] * neg_grad[piece]).to(grad_logits.dtype))
            if grad_bias is not None:
                grad_bias += (grad_logits * neg_grad[piece]).sum(0)
            del grad_logits  # before the next chunk's is made
        grad_weight = None if direct is not None else like(grad_weight, weight)
        return (grad_hidden, grad_weight, like(grad_bias, bias), None, None, None)


def _grad_logits(logits: Tensor, targets: Tensor, logps: Tensor, softcap: float | None) -> Tensor:
    """d -log p[target] / d uncapped logits: softmax - one-hot, times the slope of the cap."""
    rows = torch.arange(len(targets), device=targets.device)
    cap_slope = None if softcap is None else 1 - (logits / softcap) ** 2
    grad = torch.softmax(logits, -1)
    grad[rows, targets] = torch.expm1(logps).to(grad.dtype)  # scatter_ copies it all, twice
    return grad if cap_slope is None else grad.mul_(cap_slope)


def _add_products(total: Tensor, grad_logits: Tensor, hidden: Tensor) -> None:
    """total [vocabulary, width] += grad_logits.T @ hidden, in float32."""
    if total.is_cuda and hidden.dtype != torch.float32:
        torch.addmm(total, grad_logits.T, hidden, out_dtype=torch.float32, out=total)
    else:
        total.add_(grad_logits.T @ hidden)
