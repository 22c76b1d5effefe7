"""Attention over slots: each row sees the cached columns of its slot up to its position.

It is registered with transformers' attention interface as `slots`, for any decoder that uses the
interface. Decoding is two batched products and a softmax over [rows x kv_heads] small matrices,
with the query heads of a group as rows; on CPU that is about twice as fast as
scaled_dot_product_attention. A prompt's pass is ordinary causal attention.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

Masks = Callable[[int, int, int | None], Tensor]  # (kv_heads, groups, window) -> a layer's mask


def slot_masks(positions: Tensor, width: int, dtype: torch.dtype) -> Masks:
    """Additive masks of one decoding pass, each made once: [rows * kv_heads, groups, width].

    positions: column that each row writes in this pass, [rows]; a row does not see later columns,
    nor, in layers with a sliding window, columns a window or more behind.
    """
    @cache
    def mask(kv_heads: int, groups: int, window: int | None) -> Tensor:
        """0 where a row sees a column, else -inf."""
        rows = _mask(positions[:, None], width, window, dtype)[:, None, None]
        return rows.expand(-1, kv_heads, groups, -1).flatten(0, 1).contiguous()
    return mask


def _mask(last: Tensor, width: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """0 where a row sees a column, up to `last` [rows, 1], else -inf; [rows, width]."""
    columns = torch.arange(width, device=last.device)
    hidden = columns > last
    if window is not None:
        hidden |= columns <= last - window
    mask = torch.zeros(hidden.shape, dtype=dtype, device=last.device)
    return mask.masked_fill_(hidden, -torch.inf)


def slot_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
                   attention_mask: None, scaling: float, masks: Masks | None = None,
                   sliding_window: int | None = None, softcap: float | None = None,
                   s_aux: Tensor | None = None, **_: object) -> tuple[Tensor, None]:
    """Attention of one new token a row (with `masks`) or of one whole prompt (without).

    query [rows, heads, tokens, dim], key and value [slots, kv_heads, columns, dim]; the result is
    [rows, tokens, heads, dim]. Rows beyond the slots are idle: their attention is zero.
    s_aux: one more score a head, its sink (gpt-oss), [heads].
    """
    if masks is None:
        out = _prompt_attention(query, key, value, scaling, sliding_window, softcap, s_aux)
        return out, None
    rows, heads, _one, dim = query.shape
    slots, kv_heads = key.shape[:2]
    groups = heads // kv_heads
    grouped = query[:slots].reshape(slots * kv_heads, groups, dim)
    mask = masks(kv_heads, groups, sliding_window)
    sinks = None if s_aux is None else s_aux.view(kv_heads, groups, 1).repeat(slots, 1, 1)
    weights = _weights(grouped, key.flatten(0, 1), mask, scaling, softcap, sinks)
    out = torch.bmm(weights, value.flatten(0, 1)).view(slots, 1, heads, dim)
    return (out if slots == rows else pad(out, (0, 0, 0, 0, 0, 0, 0, rows - slots))), None


def _weights(query: Tensor, key: Tensor, mask: Tensor, scaling: float,
             softcap: float | None, sinks: Tensor | None) -> Tensor:
    """Weights [n, queries, columns]; key [n, columns, dim], sinks [n, queries, 1]."""
    if softcap is None and sinks is None:
        return torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scaling).softmax(-1)
    scores = torch.bmm(query, key.transpose(1, 2)) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + mask
    if sinks is None:
        return scores.softmax(-1)
    sinks = sinks.to(scores.dtype).expand(*scores.shape[:2], 1)
    return torch.cat((scores, sinks), 2).softmax(-1)[:, :, :-1]


def _prompt_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float,
                      window: int | None, softcap: float | None,
                      sinks: Tensor | None) -> Tensor:
    """Causal attention of a prompt over itself; shapes as in `slot_attention`."""
    groups, tokens = query.shape[1] // key.shape[1], query.shape[2]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    if softcap is None and sinks is None and (window is None or tokens <= window):
        out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        return out.transpose(1, 2)
    index = torch.arange(tokens, device=query.device)
    mask = _mask(index[:, None], tokens, window, query.dtype)
    sinks = None if sinks is None else sinks[:, None, None].repeat(len(query), 1, 1)
    weights = _weights(query.flatten(0, 1), key.flatten(0, 1), mask, scaling, softcap, sinks)
    return torch.bmm(weights, value.flatten(0, 1)).view(query.shape).transpose(1, 2)


AttentionInterface.register("slots", slot_attention)
