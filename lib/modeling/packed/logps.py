"""Log-probabilities of response tokens without the logits of a whole batch.

The vocabulary head runs only where it predicts a response token, a chunk of tokens at a time, and
nothing of size [tokens, vocabulary] outlives its chunk: the forward keeps one log-probability a
token, the backward computes the chunk's logits again. With a frozen head (LoRA) the forward also
keeps the hidden state's gradient of each log-probability, so that the head's largest product, of
three, is not repeated. Log-sum-exps are in float32. With p the
softmax and g the gradient of log p[y], the gradients are g (e_y - p) W for the hidden state and
the sum of (e_y - p) outer (g h) for W: g never touches an array of vocabulary size.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.modeling.packed import CHUNK_ELEMENTS, CUDA_CHUNK_ELEMENTS, LEAST_CHUNK
from lib.modeling.packed.gradients import direct_gradient, embed, master_of
from lib.modeling.packed.own_forward import (
    has_own_forward,
    own_hidden,
    own_response_logits,
    own_response_logps,
    without_adapter,
)
from lib.modeling.packed.packing import PackedBatch

PAD_TO = 32  # tokens are padded to a multiple, so that oneDNN reuses its compiled primitives
CACHED_ROWS = 16  # rows of logits that a CPU's cache holds in float32
LOGIT_SCALES = ("logits_scaling", "logit_scale", "lm_head_multiplier")  # in configurations
WEIGHT_ROWS = 8192  # vocabulary rows whose gradient is added to the master's at once


class _TokenLogps(torch.autograd.Function):
    """log softmax(head(hidden))[target] for each token; see `token_logps`."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None,  # noqa: ANN001
                targets: Tensor, chunk: int, softcap: float | None) -> Tensor:
        """Float32 log-probabilities [R]; shapes as in `token_logps`."""
        ctx.frozen_head = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:3])
        logps = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        slopes = torch.empty_like(hidden) if ctx.frozen_head else None  # of -log p
        for begin in range(0, len(hidden), chunk):
            piece = slice(begin, begin + chunk)
            logits = _logits(hidden[piece], weight, bias, softcap)
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
    def backward(ctx, grad: Tensor) -> tuple:  # noqa: ANN001
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
            grad_logits = _grad_logits(_logits(hidden[piece], weight, bias, ctx.softcap),
                                       targets[piece], logps[piece], ctx.softcap).to(hidden.dtype)
            grad_hidden[piece] = (grad_logits @ weight) * neg_grad[piece]
            if grad_weight is not None:
                _add_products(grad_weight, grad_logits,
                              (hidden[piece] * neg_grad[piece]).to(grad_logits.dtype))
            if grad_bias is not None:
                grad_bias += (grad_logits * neg_grad[piece]).sum(0)
            del grad_logits  # before the next chunk's is made
        grad_weight = None if direct is not None else _like(grad_weight, weight)
        return (grad_hidden, grad_weight, _like(grad_bias, bias), None, None, None)


def _like(grad: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if grad is None or parameter is None else grad.to(parameter.dtype)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None) -> Tensor:
    """Logits of a chunk, [chunk, vocabulary]; float32 where `softcap` bounds them (Gemma 2)."""
    logits = nn.functional.linear(hidden, weight, bias)
    return logits if softcap is None else softcap * torch.tanh(logits.float() / softcap)


def log_sum_exp(logits: Tensor) -> Tensor:
    """Float32 log-sum-exp of each row; on CPU a few rows at a time, so that they stay in cache."""
    if logits.is_cuda:  # one kernel, no float32 copies
        return logits[:, 0].float() - logits.log_softmax(-1, dtype=torch.float32)[:, 0]
    sums = torch.empty(len(logits), dtype=torch.float32)
    buffer = torch.empty(min(CACHED_ROWS, len(logits)), logits.shape[1], dtype=torch.float32)
    for begin in range(0, len(logits), CACHED_ROWS):
        rows = logits[begin:begin + CACHED_ROWS]
        exact = buffer[:len(rows)].copy_(rows)
        top = exact.amax(-1, keepdim=True)
        exact.sub_(top).exp_()
        # Threads would share the sum of a single row, and add in another order than in a batch.
        total = exact.expand(max(2, len(rows)), -1).sum(-1)[:len(rows)]
        sums[begin:begin + CACHED_ROWS] = total.log_().add_(top[:, 0])
    return sums


def _grad_logits(logits: Tensor, targets: Tensor, logps: Tensor, softcap: float | None) -> Tensor:
    """d -log p[target] / d uncapped logits: softmax - one-hot, times the slope of the cap.

    On CPU it overwrites the logits.
    """
    rows = torch.arange(len(targets), device=targets.device)
    cap_slope = None if softcap is None else 1 - (logits / softcap) ** 2
    grad = _softmax(logits, logits[rows, targets].float() - logps)
    grad[rows, targets] = torch.expm1(logps).to(grad.dtype)  # scatter_ copies it all, twice
    return grad if cap_slope is None else grad.mul_(cap_slope)


def _softmax(logits: Tensor, sums: Tensor) -> Tensor:
    """exp(logits - sums), sums [R] being log-sum-exps; on CPU in place, a few rows at a time."""
    if logits.is_cuda:
        return torch.softmax(logits, -1)
    for begin in range(0, len(logits), CACHED_ROWS):
        rows = logits[begin:begin + CACHED_ROWS]
        rows.copy_(rows.float().sub_(sums[begin:begin + CACHED_ROWS, None]).exp_())
    return logits


def _add_products(total: Tensor, grad_logits: Tensor, hidden: Tensor) -> None:
    """total [vocabulary, width] += grad_logits.T @ hidden; on CPU some rows of it at a time."""
    if total.is_cuda and hidden.dtype != torch.float32:
        torch.addmm(total, grad_logits.T, hidden, out_dtype=torch.float32, out=total)
        return
    for begin in range(0, len(total), WEIGHT_ROWS):
        block = slice(begin, begin + WEIGHT_ROWS)
        total[block].add_(grad_logits[:, block].T @ hidden)


def token_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
                softcap: float | None = None, chunk: int | None = None) -> Tensor:
    """Log-probability of `targets` [R] under softmax(hidden @ weight.T + bias), float32 [R].

    hidden: [R, width]; weight: [vocabulary, width], tied or not. `chunk` tokens at a time; by
    default a chunk's logits have about 2**24 elements for any vocabulary, on a GPU 2**27.
    """
    elements = CUDA_CHUNK_ELEMENTS if hidden.is_cuda else CHUNK_ELEMENTS
    chunk = chunk or max(LEAST_CHUNK, elements // len(weight) // PAD_TO * PAD_TO)
    spare = -len(targets) % PAD_TO
    logps = _TokenLogps.apply(nn.functional.pad(hidden, (0, 0, 0, spare)), weight, bias,
                              nn.functional.pad(targets, (0, spare)), chunk, softcap)
    return logps[:len(targets)]


def decoder_of(model: nn.Module) -> nn.Module:
    """The stack of layers without the vocabulary head, also inside a PEFT wrapper."""
    inner = without_adapter(model)
    found = (inner.get_decoder(), inner.base_model, getattr(inner, "model", inner))
    return next((decoder for decoder in found if decoder is not inner), inner)


class Head(NamedTuple):
    """The vocabulary head: softcap(scale * (hidden weight^T + bias))."""

    weight: Tensor
    bias: Tensor | None
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [R, width] -> logits [R, vocabulary]."""
        return _logits(*self.scaled(hidden), self.softcap)

    def scaled(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Hidden states, weight and bias whose product has the scale of the logits."""
        if self.scale == 1:
            return hidden, self.weight, self.bias
        return (hidden * self.scale, self.weight,
                None if self.bias is None else self.bias * self.scale)


def head_of(model: nn.Module) -> Head:
    """The model's head with the scale (Granite, Cohere) and bound (Gemma 2) of its logits."""
    layer, config = model.get_output_embeddings(), model.config.get_text_config()
    scale = 1.0
    for name in LOGIT_SCALES:
        if isinstance(value := getattr(config, name, None), int | float):
            scale *= 1 / value if name == "logits_scaling" else value
    return Head(layer.weight, getattr(layer, "bias", None), scale,
                getattr(config, "final_logit_softcapping", None))


def packed_hidden(model: nn.Module, batch: PackedBatch) -> Tensor:
    """Last hidden state (after the final norm) of every token of the row, [T, width]."""
    decoder = decoder_of(model)
    if has_own_forward(model):
        return own_hidden(decoder, batch)
    embedded = embed(decoder.get_input_embeddings(), batch.input_ids)
    ids = {"input_ids": batch.input_ids} if embedded is None else {"inputs_embeds": embedded}
    out = decoder(**ids, position_ids=batch.position_ids, use_cache=False, layout=batch.layout)
    return out.last_hidden_state[0]


def response_logits(model: nn.Module, batch: PackedBatch) -> Callable[[slice], Tensor]:
    """Gives the logits that predict a slice of the row's response tokens, [n, vocabulary]."""
    if has_own_forward(model):
        logits = torch.cat(list(own_response_logits(model, batch)))
        return lambda piece: logits[piece]
    hidden, head = packed_hidden(model, batch)[batch.predict_from], head_of(model)
    return lambda piece: head.logits(hidden[piece])


def response_token_logps(model: nn.Module, batch: PackedBatch, chunk: int | None = None) -> Tensor:
    """Log-probability of every response token of the row, float32 [R]."""
    if has_own_forward(model):
        return own_response_logps(model, batch)
    hidden, head = packed_hidden(model, batch)[batch.predict_from], head_of(model)
    return token_logps(*head.scaled(hidden), batch.targets, head.softcap, chunk)


def sequence_sums(values: Tensor, batch: PackedBatch) -> Tensor:
    """Sum a value of each response token over its answer: [R] -> [S]."""
    sums = values.new_zeros(batch.answers)
    if values.is_cuda:  # where index_add adds in any order, so that equal rows differ in a bit
        return sums.index_put((batch.answer_of,), values, accumulate=True)
    return sums.index_add(0, batch.answer_of, values)


def response_logps(model: nn.Module, batch: PackedBatch) -> Tensor:
    """log p(answer | prompt), summed over response tokens, float32 [S], in the row's order."""
    return sequence_sums(response_token_logps(model, batch), batch)
