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
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

METHODS = ("segments", "flex", "masked")
FUSED_FROM = 512  # keys from which the fused kernel's memory outweighs its slow backward on CPU


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

    def branch_mask(self, length: int, prompt: int, window: int | None,
                    device: torch.device) -> Tensor:
        """Mask of one answer over [prompt, answer], shape [length, prompt + length]."""
        key = (length, prompt, window, device)
        if key not in self._masks:
            query = torch.arange(prompt, prompt + length, device=device)[:, None]
            position = torch.arange(prompt + length, device=device)[None, :]
            mask = position <= query
            self._masks[key] = mask if window is None else mask & (query - position < window)
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
            before = keys.shape[2] - queries.shape[2]
            mask = layout.branch_mask(queries.shape[2], before, sliding_window, query.device)
            pieces.append(_attend(queries, keys, values, mask, scaling))
    return torch.cat(pieces, 2).transpose(1, 2), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor,
            scaling: float | None) -> Tensor:
    """Attention of one piece, [1, heads, queries, dim]; mask [queries, keys], True is visible.

    Short pieces are written out: PyTorch's fused CPU backward runs at a tenth of the speed of plain
    matrix products there. Long ones take the fused kernel, which does not keep the scores.
    """
    if key.shape[2] > FUSED_FROM or query.is_cuda:
        return scaled_dot_product_attention(query, _repeat_heads(query, key),
                                            _repeat_heads(query, value), mask, scale=scaling)
    groups, kv_heads = query.shape[1] // key.shape[1], key.shape[1]
    length, dim = query.shape[2:]
    scale = dim ** -0.5 if scaling is None else scaling
    rows = query.reshape(kv_heads, groups * length, dim)  # heads of a group share their keys
    scores = torch.matmul(rows * scale, key[0].transpose(1, 2)).view(kv_heads, groups, length, -1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    out = torch.matmul(weights.view(kv_heads, groups * length, -1), value[0])
    return out.view(1, kv_heads * groups, length, dim)


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
