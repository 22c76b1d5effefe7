"""Attention for packed rows of trees: an answer sees its prompt and itself, nothing else.

Three ways to compute the same thing, chosen at start with the reason printed:
- `segments`: each prompt-and-answer piece by itself; best on CPU, where pieces are short and no
  work is spent on masked blocks.
- `flex`: PyTorch's flex attention with a block mask, compiled on CUDA; skips whole masked blocks.
- `masked`: one dense mask over the row; works everywhere, costs T squared, and is the fallback.

They are registered with transformers' attention interface, so any decoder that uses it can run on
packed rows. The mask is (same tree) and (causal) and (prompt or same answer) and, in layers with a
sliding window, (nearer than the window).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

METHODS = ("segments", "flex", "masked")
MULTIPLE = 64  # pieces are computed in multiples of it, so that few kernels have to be made
QUERIES = 256  # queries that are computed together


@dataclass(frozen=True)
class Span:
    """Where one tree lies in the row: first token, prompt's length, each answer's length."""

    start: int
    prompt: int
    branches: tuple[int, ...]

    def branch_slices(self) -> Iterator[slice]:
        """The slice of the token axis of each answer."""
        begin = self.start + self.prompt
        for length in self.branches:
            yield slice(begin, begin + length)
            begin += length


class Layout:
    """The trees of one row, and what attention derives from them, computed once a row."""

    def __init__(self, spans: tuple[Span, ...], tokens: int) -> None:
        self.spans, self.tokens = spans, tokens
        self.part_lengths = [length for span in spans
                             for length in (*([span.prompt] if span.prompt else []),
                                            *span.branches)]
        self._masks: dict[tuple, Tensor] = {}
        self._block_masks: dict[tuple, BlockMask] = {}

    def token_labels(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Tree number, answer number (0 = prompt) and position of each token, each [tokens]."""
        tree = torch.empty(self.tokens, dtype=torch.long)
        answer = torch.zeros(self.tokens, dtype=torch.long)
        position = torch.empty(self.tokens, dtype=torch.long)
        for number, span in enumerate(self.spans):
            prompt_end = span.start + span.prompt
            tree[span.start:prompt_end + sum(span.branches)] = number
            position[span.start:prompt_end] = torch.arange(span.prompt)
            for branch, piece in enumerate(span.branch_slices(), start=1):
                answer[piece] = branch
                position[piece] = torch.arange(span.prompt, span.prompt + piece.stop - piece.start)
        return tree.to(device), answer.to(device), position.to(device)

    def dense_mask(self, window: int | None, device: torch.device) -> Tensor:
        """The whole mask, [tokens, tokens], True where a query (row) may see a key (column)."""
        key = ("dense", window, device)
        if key not in self._masks:
            index = torch.arange(self.tokens, device=device)
            visible = _visibility(*self.token_labels(device), window)
            self._masks[key] = visible(0, 0, index[:, None], index[None, :])
        return self._masks[key]

    def branch_mask(self, length: int, prompt: int, columns: int, window: int | None,
                    like: Tensor, repeats: int) -> Tensor:
        """Additive mask of one answer over [prompt, answer, unused]: 0 where visible, else -inf.

        Shape [repeats * length, columns]: the answer's rows, `repeats` times over.
        """
        key = (length, prompt, columns, window, like.dtype, like.device, repeats)
        if key not in self._masks:
            query = torch.arange(prompt, prompt + length, device=like.device)[:, None]
            position = torch.arange(columns, device=like.device)[None, :]
            hidden = position > query
            if window is not None:
                hidden |= query - position >= window
            mask = like.new_zeros(length, columns).masked_fill_(hidden, -torch.inf)
            self._masks[key] = mask.repeat(repeats, 1)
        return self._masks[key]

    def block_mask(self, window: int | None, device: torch.device) -> BlockMask:
        """Flex attention's block mask of the row."""
        key = (window, device)
        if key not in self._block_masks:
            visible = _visibility(*self.token_labels(device), window)
            self._block_masks[key] = create_block_mask(
                visible, None, None, self.tokens, self.tokens, device=device)
        return self._block_masks[key]


def _visibility(tree: Tensor, answer: Tensor, position: Tensor, window: int | None):  # noqa: ANN202
    """The mask as flex attention's mask_mod: (batch, head, query, key) -> may the query see it."""
    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Whether each query sees each key; indices that broadcast, as flex attention gives."""
        same_piece = (answer[key] == 0) | (answer[key] == answer[query])
        seen = (tree[query] == tree[key]) & (query >= key) & same_piece
        return seen if window is None else seen & (position[query] - position[key] < window)
    return visible


def choose_method(device: torch.device, method: str = "auto") -> tuple[str, str]:
    """The attention method for a device, and the reason in one sentence."""
    if method != "auto":
        if method not in METHODS:
            raise ValueError(f"attention is {method!r}; use auto, {', '.join(METHODS)}")
        return method, f"attention: {method}, as asked"
    if device.type == "cuda":
        return "flex", "attention: flex, compiled, because its block mask skips what is masked"
    return "segments", "attention: segments, because a CPU gains nothing from masked blocks"


def use_packed_attention(model: nn.Module, method: str) -> None:
    """Switch a transformers model to packed attention; its forward then needs `layout=`."""
    model.set_attn_implementation(f"packed_{method}")


def segments_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                       attention_mask: None, layout: Layout, scaling: float | None = None,
                       dropout: float = 0.0, sliding_window: int | None = None,
                       **_: object) -> tuple[Tensor, None]:
    """Attention piece by piece. query [1, heads, T, dim], key and value [1, kv_heads, T, dim].

    Returns [1, T, heads, dim]. The prompt and its first answer lie together and are one causal
    piece; every further answer takes the prompt's keys in front of its own.
    """
    parts = zip(*(x.split(layout.part_lengths, 2) for x in (query, key, value)), strict=True)
    pieces = []
    for span in layout.spans:
        prompt = next(parts) if span.prompt else None
        for number in range(len(span.branches)):
            own = next(parts)
            if prompt is None:
                queries, keys, values = own
            else:
                keys, values = (torch.cat((prompt[i], own[i]), 2) for i in (1, 2))
                queries = own[0] if number else torch.cat((prompt[0], own[0]), 2)
            pieces.append(_attend(queries, keys, values, layout, sliding_window, scaling))
    return torch.cat(pieces, 2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, layout: Layout, window: int | None,
            scaling: float | None) -> Tensor:
    """Attention of one piece to what stands before it and to itself, [1, heads, queries, dim].

    Written out on CPU, where the backward of PyTorch's fused kernel runs at a tenth of the speed of
    plain matrix products.
    """
    length, dim = query.shape[2:]
    before, kv_heads = key.shape[2] - length, key.shape[1]
    query = pad(query, (0, 0, 0, -length % MULTIPLE))
    rounded = query.shape[2]
    columns = _rounded_up(before + rounded)
    key, value = (pad(x, (0, 0, 0, columns - x.shape[2])) for x in (key, value))
    if query.is_cuda:
        mask = layout.branch_mask(rounded, before, columns, window, query, 1)
        out = scaled_dot_product_attention(query, _repeat_heads(query, key),
                                           _repeat_heads(query, value), mask, scale=scaling)
        return out[:, :, :length]
    groups = query.shape[1] // kv_heads
    masks = [layout.branch_mask(min(QUERIES, rounded - begin), before + begin,
                                _rounded_up(before + min(begin + QUERIES, rounded)), window, query,
                                groups) for begin in range(0, rounded, QUERIES)]
    scale = dim ** -0.5 if scaling is None else scaling
    out = _PieceAttention.apply(query[0].unflatten(0, (kv_heads, groups)), key[0], value[0], masks,
                                scale)
    return out.view(query.shape)[:, :, :length]


def _rounded_up(tokens: int) -> int:
    return tokens + -tokens % MULTIPLE


class _PieceAttention(torch.autograd.Function):
    """softmax(scale * query key^T + mask) value; the backward makes the weights again.

    QUERIES queries at a time, each lot with the keys up to its own end: what causality hides from
    all of them is not computed.
    """

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, masks: list[Tensor],  # noqa: ANN001
                scale: float) -> Tensor:
        """query [kv_heads, groups, L, dim], key and value [kv_heads, K, dim]: the query's shape.

        masks: one a lot of queries, [groups * queries, keys up to their end].
        """
        ctx.save_for_backward(query, key, value)
        ctx.masks, ctx.scale = masks, scale
        out = torch.empty_like(query)
        for lot, mask in enumerate(masks):
            part, columns = slice(lot * QUERIES, (lot + 1) * QUERIES), mask.shape[1]
            weights = _weights(query[:, :, part].flatten(1, 2), key[:, :columns], mask, scale)
            out[:, :, part] = torch.bmm(weights, value[:, :columns]).view_as(out[:, :, part])
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        """Gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        for lot, mask in reversed(list(enumerate(ctx.masks))):
            part, columns = slice(lot * QUERIES, (lot + 1) * QUERIES), mask.shape[1]
            rows, upstream = (x[:, :, part].flatten(1, 2) for x in (query, grad))
            keys, values = key[:, :columns], value[:, :columns]
            weights = _weights(rows, keys, mask, ctx.scale)
            grad_value[:, :columns] += torch.bmm(weights.transpose(1, 2), upstream)
            slope = torch._softmax_backward_data(torch.bmm(upstream, values.transpose(1, 2)),
                                                 weights, -1, weights.dtype)
            grad_query[:, :, part] = torch.bmm(slope, keys).view_as(grad_query[:, :, part])
            grad_key[:, :columns] += torch.bmm(slope.transpose(1, 2), rows)
        return grad_query.mul_(ctx.scale), grad_key.mul_(ctx.scale), grad_value, None, None


def _weights(rows: Tensor, keys: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Attention weights of a lot of queries, [kv_heads, groups * queries, keys]."""
    return torch.baddbmm(mask, rows, keys.transpose(1, 2), alpha=scale).softmax(-1)


def masked_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                     attention_mask: None, layout: Layout, scaling: float | None = None,
                     dropout: float = 0.0, sliding_window: int | None = None,
                     **_: object) -> tuple[Tensor, None]:
    """The same by one dense mask over the row; shapes as in `segments_attention`."""
    mask = layout.dense_mask(sliding_window, query.device)
    key, value = _repeat_heads(query, key), _repeat_heads(query, value)
    out = scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
    return out.transpose(1, 2), None


def packed_flex_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                          attention_mask: None, layout: Layout, scaling: float | None = None,
                          dropout: float = 0.0, sliding_window: int | None = None,
                          **_: object) -> tuple[Tensor, None]:
    """The same by flex attention, which skips blocks that the mask leaves empty."""
    attend = _compiled_flex() if query.is_cuda else flex_attention
    out = attend(query, key, value, block_mask=layout.block_mask(sliding_window, query.device),
                 scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return out.transpose(1, 2), None


@cache
def _compiled_flex():  # noqa: ANN202
    return torch.compile(flex_attention, dynamic=True)


def _repeat_heads(query: Tensor, key: Tensor) -> Tensor:
    """Repeat each key/value head for the query heads that share it (grouped-query attention)."""
    groups = query.shape[1] // key.shape[1]
    return key if groups == 1 else key.repeat_interleave(groups, dim=1)


AttentionInterface.register("packed_segments", segments_attention)
AttentionInterface.register("packed_masked", masked_attention)
AttentionInterface.register("packed_flex", packed_flex_attention)
