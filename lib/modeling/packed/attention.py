"""Attention for packed rows: an answer sees its prompt and itself, nothing else.

Three methods compute the same:
- `segments`: each prompt-and-answer piece by itself, so that no work goes into masked blocks; the
  choice on CPU.
- `flex`: PyTorch's flex attention, compiled, whose block mask skips masked blocks; the choice on
  CUDA.
- `masked`: one dense mask over the row; works everywhere and costs T squared.

They are registered with transformers' attention interface, so any decoder that uses it can run on
packed rows. The mask is (same shared prompt) and (causal) and (prompt or same answer) and, in
layers with a sliding window, (nearer than the window).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from lib.modeling.packed.masks import answer_mask, block_mask, dense_mask
from lib.modeling.packed.packing import Layout

METHODS = ("segments", "flex", "masked")
# Queries that are computed together; more of them meet more keys that they may not see. Queries and
# keys are padded to a multiple, so that oneDNN compiles few primitives and reuses them.
QUERY_BLOCK = 64
FLEX_KINDS = 64  # kinds of pass that flex attention may be compiled for; PyTorch allows 8


def use_packed_attention(model: PreTrainedModel, method: str = "auto") -> None:
    """Switch a transformers model to packed attention; its forward then needs `layout=`.

    `auto` chooses by the model's device. Raises ValueError for an unknown method.
    """
    if method == "auto":
        method = "flex" if model.device.type == "cuda" else "segments"
    if method not in METHODS:
        raise ValueError(f"attention is {method!r}; use auto, {', '.join(METHODS)}")
    model.set_attn_implementation(f"packed_{method}")


def segments_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                       attention_mask: None, layout: Layout, scaling: float | None = None,
                       dropout: float = 0.0, sliding_window: int | None = None,
                       softcap: float | None = None, s_aux: Tensor | None = None,
                       **_: object) -> tuple[Tensor, None]:
    """Attention piece by piece. query [1, heads, T, dim], key and value [1, kv_heads, T, dim].

    Returns [1, T, heads, dim]. The prompt and its first answer lie together and are one causal
    piece; every further answer has the prompt's keys in front of its keys.
    """
    parts = zip(*(x.split(layout.part_lengths, 2) for x in (query, key, value)), strict=True)
    pieces = []
    for span in layout.spans:
        prompt = next(parts) if span.prompt else None
        for number in range(len(span.answers)):
            own = next(parts)
            if prompt is None:
                queries, keys, values = own
            else:
                keys, values = (torch.cat((prompt[i], own[i]), 2) for i in (1, 2))
                queries = own[0] if number else torch.cat((prompt[0], own[0]), 2)
            if softcap is None and s_aux is None:
                pieces.append(_attend(queries, keys, values, layout, sliding_window, scaling))
            else:
                pieces.append(_attend_plainly(queries, keys, values, layout, sliding_window,
                                              scaling, softcap, s_aux))
    return torch.cat(pieces, 2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, layout: Layout, window: int | None,
            scaling: float | None) -> Tensor:
    """Attention of one piece to the keys before it and to itself, [1, heads, queries, dim].

    Written out on CPU, where the backward of PyTorch's fused kernel runs at a tenth of the speed of
    plain matrix products.
    """
    length, dim = query.shape[2:]
    before, kv_heads = key.shape[2] - length, key.shape[1]
    query = pad(query, (0, 0, 0, -length % QUERY_BLOCK))
    rounded = query.shape[2]
    columns = _rounded_up(before + rounded)
    key, value = (pad(x, (0, 0, 0, columns - x.shape[2])) for x in (key, value))
    if query.is_cuda:
        mask = answer_mask(layout, rounded, before, columns, window, query, 1)
        out = scaled_dot_product_attention(query, _repeat_heads(query, key),
                                           _repeat_heads(query, value), mask, scale=scaling)
        return out[:, :, :length]
    groups = query.shape[1] // kv_heads
    masks = []
    for begin in range(0, rounded, QUERY_BLOCK):
        columns = _rounded_up(before + begin + QUERY_BLOCK)
        masks.append(answer_mask(layout, QUERY_BLOCK, before + begin, columns, window, query,
                                 groups))
    scale = dim ** -0.5 if scaling is None else scaling
    out = _PieceAttention.apply(query[0].unflatten(0, (kv_heads, groups)), key[0], value[0], masks,
                                scale)
    return out.view(query.shape)[:, :, :length]


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, layout: Layout,
                    window: int | None, scaling: float | None, softcap: float | None,
                    sinks: Tensor | None) -> Tensor:
    """`_attend` with bounded scores (Gemma 2) or one more score a head, its sink (gpt-oss)."""
    length, columns = query.shape[2], key.shape[2]
    mask = answer_mask(layout, length, columns - length, columns, window, query, 1)
    return written_out(query, key, value, mask, scaling, softcap, sinks)


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None,
                softcap: float | None, sinks: Tensor | None) -> Tensor:
    """Attention operation by operation, [rows, heads, queries, dim].

    query [rows, heads, queries, dim]; key and value have kv_heads and columns; mask is additive and
    broadcasts to [rows, heads, queries, columns]; sinks [heads].
    """
    key, value = _repeat_heads(query, key), _repeat_heads(query, value)
    scores = query @ key.transpose(2, 3) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + mask
    if sinks is not None:
        column = sinks[:, None, None].to(scores.dtype).expand(*scores.shape[:3], 1)
        scores = torch.cat((scores, column), 3)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return weights[..., :key.shape[2]] @ value


def _rounded_up(tokens: int) -> int:
    return tokens + -tokens % QUERY_BLOCK


class _PieceAttention(torch.autograd.Function):
    """softmax(scale * query key^T + mask) value; the backward computes the weights again.

    One block of queries at a time, with the keys up to the block's end: keys that causality hides
    from the whole block cost nothing.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, masks: list[Tensor],
                scale: float) -> Tensor:
        """query [kv_heads, groups, L, dim], key and value [kv_heads, K, dim]: query's shape.

        masks: one a block of queries, [groups * queries, keys up to their end].
        """
        ctx.save_for_backward(query, key, value)
        ctx.masks, ctx.scale = masks, scale
        out = torch.empty_like(query)
        for block, mask in enumerate(masks):
            part, columns = slice(block * QUERY_BLOCK, (block + 1) * QUERY_BLOCK), mask.shape[1]
            weights = _weights(query[:, :, part].flatten(1, 2), key[:, :columns], mask, scale)
            out[:, :, part] = torch.bmm(weights, value[:, :columns]).view_as(out[:, :, part])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value."""
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        for block, mask in reversed(list(enumerate(ctx.masks))):
            part, columns = slice(block * QUERY_BLOCK, (block + 1) * QUERY_BLOCK), mask.shape[1]
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
    """Attention weights of a block of queries, [kv_heads, groups * queries, keys]."""
    return torch.baddbmm(mask, rows, keys.transpose(1, 2), alpha=scale).softmax(-1)


def masked_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                     attention_mask: None, layout: Layout, scaling: float | None = None,
                     dropout: float = 0.0, sliding_window: int | None = None,
                     softcap: float | None = None, s_aux: Tensor | None = None,
                     **_: object) -> tuple[Tensor, None]:
    """The same by one dense mask over the row; shapes as in `segments_attention`."""
    mask = dense_mask(layout, sliding_window, query.device)
    if softcap is not None or s_aux is not None:
        hidden = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
        out = written_out(query, key, value, hidden, scaling, softcap, s_aux)
        return out.transpose(1, 2), None
    key, value = _repeat_heads(query, key), _repeat_heads(query, value)
    out = scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
    return out.transpose(1, 2), None


def packed_flex_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                          attention_mask: None, layout: Layout, scaling: float | None = None,
                          dropout: float = 0.0, sliding_window: int | None = None,
                          softcap: float | None = None, s_aux: Tensor | None = None,
                          **_: object) -> tuple[Tensor, None]:
    """The same by flex attention, which skips blocks that the mask hides."""
    if softcap is not None or s_aux is not None:
        return segments_attention(module, query, key, value, None, layout, scaling,
                                  sliding_window=sliding_window, softcap=softcap, s_aux=s_aux)
    attend: Any = _compiled_flex() if query.is_cuda else flex_attention
    out = attend(query, key, value, block_mask=block_mask(layout, sliding_window, query.device),
                 scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return out.transpose(1, 2), None


@cache
def _compiled_flex() -> Callable[..., Any]:
    """Compiled for the first length of a kind of pass, then for any; never run uncompiled."""
    torch._dynamo.config.recompile_limit = FLEX_KINDS
    return torch.compile(flex_attention, fullgraph=True)


def _repeat_heads(query: Tensor, key: Tensor) -> Tensor:
    """Repeat each key/value head for the query heads that share it (grouped-query attention)."""
    groups = query.shape[1] // key.shape[1]
    return key if groups == 1 else key.repeat_interleave(groups, dim=1)


AttentionInterface.register("packed_segments", segments_attention)
AttentionInterface.register("packed_masked", masked_attention)
AttentionInterface.register("packed_flex", packed_flex_attention)
