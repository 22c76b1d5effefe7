"""Log-probabilities on a CPU: all tokens of a row at once, a block of the vocabulary at a time.

A block's logits stay in the processor's cache while they become gradients and are multiplied; the
head's weights are read, and their gradient is written, once a row. The logits of the first blocks
are kept for the backward, as many as KEPT_ELEMENTS holds; those of the others are computed again.
The gradients are those of `token_logps`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lib.modeling.packed import KEPT_ELEMENTS, WORDS_A_BLOCK
from lib.modeling.packed.gradients import direct_gradient, master_of

CACHED_ROWS = 16  # rows of logits that a CPU's cache holds in float32


def head_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None,
                softcap: float | None) -> Tensor:
    """Logits [R, words]; float32 where `softcap` bounds them (Gemma 2)."""
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


def like(grad: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    """A gradient in its parameter's dtype."""
    return None if grad is None or parameter is None else grad.to(parameter.dtype)


@dataclass
class _Blocks:
    """The vocabulary in blocks of `size` words, over the tokens `hidden` [R, width] of a row.

    kept: logits of some blocks by number, [R, size] each.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    targets: Tensor
    size: int
    softcap: float | None
    kept: dict[int, Tensor] = field(default_factory=dict)

    @property
    def words(self) -> list[slice]:
        """The words of each block."""
        return [slice(begin, begin + self.size) for begin in range(0, len(self.weight), self.size)]

    def logps(self, room: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the targets and log-sum-exps, float32 [R]; keeps `room` logits."""
        chosen, sums = torch.empty(len(self.hidden), dtype=torch.float32), []
        for number, words in enumerate(self.words):
            logits = self._logits(words)
            rows, columns = self._targets_in(words)
            chosen[rows] = logits[rows, columns].float()
            sums.append(log_sum_exp(logits))
            if logits.numel() <= room:
                self.kept[number], room = logits, room - logits.numel()
        total = torch.stack(sums).logsumexp(0)
        return chosen - total, total

    def slopes(self, logps: Tensor, total: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Each block's words and d -log p[target] / d uncapped logits, [R, size]; forgets `kept`.

        softmax - one-hot, times the slope of the cap; it overwrites the logits.
        """
        for number, words in enumerate(self.words):
            logits = self.kept.pop(number) if number in self.kept else self._logits(words)
            cap_slope = None if self.softcap is None else 1 - (logits / self.softcap) ** 2
            for begin in range(0, len(logits), CACHED_ROWS):
                rows = logits[begin:begin + CACHED_ROWS]
                rows.copy_(rows.float().sub_(total[begin:begin + CACHED_ROWS, None]).exp_())
            rows, columns = self._targets_in(words)
            logits[rows, columns] = torch.expm1(logps[rows]).to(logits.dtype)
            if cap_slope is not None:
                logits.mul_(cap_slope)
            yield words, logits.to(self.hidden.dtype)

    def _logits(self, words: slice) -> Tensor:
        bias = None if self.bias is None else self.bias[words]
        return head_logits(self.hidden, self.weight[words], bias, self.softcap)

    def _targets_in(self, words: slice) -> tuple[Tensor, Tensor]:
        """The tokens whose target is one of these words, and its place among them."""
        rows = ((self.targets >= words.start) & (self.targets < words.stop)).nonzero()[:, 0]
        return rows, self.targets[rows] - words.start


class BlockedLogps(torch.autograd.Function):
    """log softmax(head(hidden))[target] for each token; see `token_logps`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None,
                targets: Tensor, softcap: float | None, block: int = WORDS_A_BLOCK) -> Tensor:
        """Float32 log-probabilities [R]; shapes as in `token_logps`."""
        blocks = _Blocks(hidden, weight, bias, targets, block, softcap)
        logps, total = blocks.logps(KEPT_ELEMENTS if any(ctx.needs_input_grad) else 0)
        ctx.frozen_head = ctx.needs_input_grad[0] and not any(ctx.needs_input_grad[1:3])
        if ctx.frozen_head:
            slopes = torch.zeros(hidden.shape, dtype=torch.float32)  # of -log p
            for words, slope in blocks.slopes(logps, total):
                _add_product(slopes, slope, weight[words])
            ctx.save_for_backward(slopes.to(hidden.dtype))
        else:
            ctx.save_for_backward(hidden, weight, bias, targets, logps, total)
        ctx.block, ctx.softcap, ctx.kept = block, softcap, blocks.kept
        ctx.master = master_of(weight)
        return logps

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of hidden, weight and bias from grad [R]."""
        neg_grad = -grad[:, None]
        if ctx.frozen_head:
            slopes, = ctx.saved_tensors
            return (slopes * neg_grad).to(slopes.dtype), None, None, None, None, None
        hidden, weight, bias, targets, logps, total = ctx.saved_tensors
        blocks = _Blocks(hidden, weight, bias, targets, ctx.block, ctx.softcap, ctx.kept)
        direct = direct_gradient(ctx.master) if ctx.needs_input_grad[1] else None
        grad_weight = direct
        if direct is None and ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_hidden = torch.zeros(hidden.shape, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        scaled = (hidden * neg_grad).to(hidden.dtype)
        for words, slope in blocks.slopes(logps, total):
            _add_product(grad_hidden, slope, weight[words])
            if grad_weight is not None:
                _add_product(grad_weight[words], slope.T, scaled)
            if grad_bias is not None:
                grad_bias[words] = (slope * neg_grad).sum(0)
        return (grad_hidden.mul_(neg_grad).to(hidden.dtype),
                None if direct is not None else like(grad_weight, weight), like(grad_bias, bias),
                None, None, None)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right; total is float32."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
