"""Which token of a packed row sees which: dense, by blocks for flex attention, or by answer.

A query sees a key of the same shared prompt that is not later, stands in the prompt or in the same
answer, and is nearer than a layer's sliding window. A layout keeps the masks that were made of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from lib.modeling.packed.packing import Layout

FLEX_BLOCK = 128  # tokens a block of flex attention's mask


def dense_mask(layout: Layout, window: int | None, device: torch.device) -> Tensor:
    """The whole mask, [tokens, tokens], True where a query (row) may see a key (column)."""
    key = ("dense", window, device)
    if key not in layout.masks:
        index = torch.arange(layout.tokens, device=device)
        visible = _visibility(layout, window, device)
        layout.masks[key] = visible(0, 0, index[:, None], index[None, :])
    return layout.masks[key]


def block_mask(layout: Layout, window: int | None, device: torch.device) -> BlockMask:
    """Flex attention's block mask of the row, counted from its parts: no [tokens, tokens] array.

    Whole blocks need no mask inside. With a window none counts as whole, and blocks beyond the
    window are computed too; their masked values change nothing.
    """
    key = ("blocks", window, device)
    if key not in layout.masks:
        seen = _pairs_seen(layout)
        below = torch.ones_like(seen, dtype=torch.bool).tril(-1)
        whole = below & (seen == FLEX_BLOCK ** 2) & (window is None)
        partly = ((seen > 0) & below & ~whole) | torch.eye(len(seen), dtype=torch.bool)
        layout.masks[key] = BlockMask.from_kv_blocks(
            *_ordered(partly), *_ordered(whole), BLOCK_SIZE=FLEX_BLOCK,
            mask_mod=_visibility(layout, window, device),
            seq_lengths=(layout.tokens, layout.tokens)).to(device)
    return layout.masks[key]


def _pairs_seen(layout: Layout) -> Tensor:
    """Pairs of a query in one block and a key in another that see each other, [blocks, blocks].

    Order aside, which all pairs of a query's block and an earlier block keep.
    """
    prompt, answer, _ = layout.token_labels("cpu")
    lengths = torch.tensor(layout.part_lengths)
    first = lengths.cumsum(0) - lengths
    part = torch.arange(len(lengths)).repeat_interleave(lengths)  # [tokens]
    block = torch.arange(layout.tokens) // FLEX_BLOCK
    shape = (-(-layout.tokens // FLEX_BLOCK), len(lengths))
    tokens = (block * shape[1] + part).bincount(minlength=shape[0] * shape[1]).view(shape).double()
    piece, prompts = answer[first], prompt[first]
    sees = (prompts[:, None] == prompts) & ((piece == 0) | (piece[:, None] == piece))
    return tokens @ sees.double() @ tokens.T


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of blocks, how many are set and their indices first: [1, 1, n], [1, 1, n, n]."""
    indices = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1).int()[None, None], indices.int()[None, None]


def answer_mask(layout: Layout, length: int, prompt: int, columns: int, window: int | None,
                 like: Tensor, repeats: int) -> Tensor:
    """Additive mask of one answer over [prompt, answer, unused]: 0 where visible, else -inf.

    Shape [repeats * length, columns]: the answer's rows, `repeats` times over.
    """
    key = (length, prompt, columns, window, like.dtype, like.device, repeats)
    if key not in layout.masks:
        query = torch.arange(prompt, prompt + length, device=like.device)[:, None]
        position = torch.arange(columns, device=like.device)[None, :]
        hidden = position > query
        if window is not None:
            hidden |= query - position >= window
        mask = like.new_zeros(length, columns).masked_fill_(hidden, -torch.inf)
        layout.masks[key] = mask.repeat(repeats, 1)
    return layout.masks[key]


def _visibility(layout: Layout, window: int | None, device: torch.device) -> Callable[..., Tensor]:
    """The mask as flex attention's mask_mod: (batch, head, query, key) -> may the query see it."""
    prompt, answer, position = layout.token_labels(device)

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Whether each query sees each key; indices that broadcast, as flex attention gives."""
        same_piece = (answer[key] == 0) | (answer[key] == answer[query])
        seen = (prompt[query] == prompt[key]) & (query >= key) & same_piece
        return seen if window is None else seen & (position[query] - position[key] < window)
    return visible
