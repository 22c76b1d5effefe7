"""Log-probabilities of response tokens without the logits of a whole batch.

The vocabulary head runs only where a response token is predicted, a chunk of tokens at a time, and
nothing of size [tokens, vocabulary] outlives its chunk: the forward keeps one log-sum-exp a token,
the backward computes the chunk's logits again. Sums and exponentials are in float32.
"""

import torch
from torch import Tensor, nn

from lib.modeling.packing import PackedBatch

CHUNK_ELEMENTS = 2**24  # logits alive at once: 32 MB in bf16, 64 MB in fp32


class _TokenLogps(torch.autograd.Function):
    """log softmax(head(hidden))[target] for each token; see `token_logps`."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None,  # noqa: ANN001
                targets: Tensor, chunk: int, softcap: float | None) -> Tensor:
        logps = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        lse = torch.empty_like(logps)
        for begin in range(0, len(hidden), chunk):
            piece = slice(begin, begin + chunk)
            logits = _logits(hidden[piece], weight, bias, softcap)
            lse[piece] = logits.logsumexp(-1)
            logps[piece] = logits.gather(1, targets[piece, None])[:, 0] - lse[piece]
        ctx.save_for_backward(hidden, weight, bias, targets, lse)
        ctx.chunk, ctx.softcap = chunk, softcap
        return logps

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:  # noqa: ANN001
        hidden, weight, bias, targets, lse = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = (torch.zeros_like(weight, dtype=torch.float32)
                       if ctx.needs_input_grad[1] else None)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for begin in range(0, len(hidden), ctx.chunk):
            piece = slice(begin, begin + ctx.chunk)
            logits = _logits(hidden[piece], weight, bias, ctx.softcap)
            slope = _logit_gradient(logits, targets[piece], lse[piece], grad[piece], ctx.softcap)
            slope = slope.to(hidden.dtype)
            grad_hidden[piece] = slope @ weight
            if grad_weight is not None:
                grad_weight += slope.T @ hidden[piece]
            if grad_bias is not None:
                grad_bias += slope.sum(0, dtype=torch.float32)
        return (grad_hidden, _like(grad_weight, weight), _like(grad_bias, bias), None, None, None)


def _like(grad: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if grad is None or parameter is None else grad.to(parameter.dtype)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None) -> Tensor:
    """Float32 logits of a chunk, [chunk, vocabulary]; `softcap` as in Gemma 2."""
    logits = nn.functional.linear(hidden, weight, bias).float()
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _logit_gradient(logits: Tensor, targets: Tensor, lse: Tensor, grad: Tensor,
                    softcap: float | None) -> Tensor:
    """d loss / d uncapped logits: (one-hot - softmax) * grad * d cap; overwrites `logits`."""
    slope = None if softcap is None else 1 - (logits / softcap) ** 2
    logits.sub_(lse[:, None]).exp_().mul_(-grad[:, None])
    logits.scatter_add_(1, targets[:, None], grad[:, None])
    return logits if slope is None else logits.mul_(slope)


def token_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
                softcap: float | None = None, chunk: int | None = None) -> Tensor:
    """Log-probability of `targets` [R] under softmax(hidden @ weight.T + bias), float32 [R].

    hidden: [R, width]; weight: [vocabulary, width], tied or not. `chunk` tokens at a time; the
    default keeps a chunk's logits near 2**24 elements whatever the vocabulary.
    """
    chunk = chunk or max(64, CHUNK_ELEMENTS // len(weight))
    return _TokenLogps.apply(hidden, weight, bias, targets, chunk, softcap)


def decoder_of(model: nn.Module) -> nn.Module:
    """The stack of layers without the vocabulary head, also inside a PEFT wrapper."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.get_decoder()


def packed_hidden(model: nn.Module, batch: PackedBatch) -> Tensor:
    """Last hidden state (after the final norm) of every token of the row, [T, width]."""
    out = decoder_of(model)(input_ids=batch.input_ids, position_ids=batch.position_ids,
                            use_cache=False, layout=batch.layout)
    return out.last_hidden_state[0]


def response_token_logps(model: nn.Module, batch: PackedBatch, chunk: int | None = None) -> Tensor:
    """Log-probability of every response token of the row, float32 [R]."""
    hidden = packed_hidden(model, batch)[batch.predictors]
    head = model.get_output_embeddings()
    softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return token_logps(hidden, head.weight, getattr(head, "bias", None), batch.targets, softcap,
                       chunk)


def sequence_sums(values: Tensor, batch: PackedBatch) -> Tensor:
    """Sum a value of each response token over its answer: [R] -> [S]."""
    return torch.zeros(batch.answers, dtype=values.dtype,
                       device=values.device).index_add(0, batch.owners, values)


def response_logps(model: nn.Module, batch: PackedBatch) -> Tensor:
    """log p(answer | prompt), summed over response tokens, float32 [S], in the trees' order."""
    return sequence_sums(response_token_logps(model, batch), batch)
