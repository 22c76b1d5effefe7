"""Keys and values of the sequences being sampled: one slot a sequence, written in place.

A layer's keys are one tensor [rows, kv_heads, width, head_dim]; slot r holds its sequence from
column 0 on. `width` grows by blocks of columns, because batched products read whole tensors about
twice as fast as slices of wider ones. Sliding-window layers keep all columns too and hide old ones
by their mask, so that one layout serves every model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.runtime.devices import release_memory

BLOCKS = {"cpu": 32, "cuda": 256, "mps": 256}  # columns by which the width grows
PromptCache = list[tuple[Tensor, Tensor]]  # keys and values of a layer, [kv_heads, tokens, dim]


class SlotCache:
    """Keys and values of up to `rows` sequences, the `past_key_values` of decoding passes.

    Before a decoding pass, `point_at` sets how many slots take part and where each one writes.
    """

    def __init__(self, rows: int) -> None:
        self.rows, self.width = rows, 0
        self.version = 0  # grows whenever keys and values move
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def fit(self, columns: int, rows: int) -> None:
        """Make room for `columns` tokens in `rows` slots; free it once half of it is unused.

        Contents stay. New columns are zero, because a masked column has weight 0, and 0 times NaN
        is NaN.
        """
        block = BLOCKS[self.keys[0].device.type]
        width = -(-columns // block) * block
        if self.width // 2 < width <= self.width and self.rows // 2 < rows <= self.rows:
            return
        kept, kept_rows = min(width, self.width), min(rows, self.rows)
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                new = tensors[layer] = old.new_empty(rows, old.shape[1], width, old.shape[3])
                new[:kept_rows, :, :kept] = old[:kept_rows, :, :kept]
                new[:kept_rows, :, kept:] = 0
                new[kept_rows:] = 0
        self.rows, self.width, self.version = rows, width, self.version + 1
        release_memory()  # tensors of the new width fit none of the old ones' memory

    def insert(self, prompt: PromptCache, slots: Sequence[int]) -> None:
        """Copy a prompt's keys and values into slots."""
        keys, values = zip(*prompt, strict=True)
        if not self.keys:
            self.keys, self.values = self._empty(keys), self._empty(values)
        tokens = keys[0].shape[1]
        self.fit(max(tokens, self.width), self.rows)
        where = torch.tensor(slots, device=keys[0].device)
        for target, source in zip((*self.keys, *self.values), (*keys, *values), strict=True):
            target[where, :, :tokens] = source

    def _empty(self, like: Sequence[Tensor]) -> list[Tensor]:
        return [x.new_zeros(self.rows, x.shape[0], self.width, x.shape[2]) for x in like]

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        for tensor in (*self.keys, *self.values):
            tensor[target] = tensor[source]

    def point_at(self, positions: Tensor) -> None:
        """Let the first len(positions) slots write their next token at these columns, [slots]."""
        self._positions = positions
        self._slots = torch.arange(len(positions), device=positions.device)

    def update(self, key: Tensor, value: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Write one token a slot; key and value are [rows, kv_heads, 1, head_dim].

        Rows beyond the slots that take part are idle and write nothing. Returns views of all
        columns of those slots, [slots, kv_heads, width, head_dim].
        """
        slots, keys, values = len(self._slots), self.keys[layer], self.values[layer]
        keys[self._slots, :, self._positions] = key[:slots, :, 0]
        values[self._slots, :, self._positions] = value[:slots, :, 0]
        return keys[:slots], values[:slots]

    def get_seq_length(self, layer: int = 0) -> int:
        """Columns in use or reserved; no model relies on it, because positions are explicit."""
        return self.width
