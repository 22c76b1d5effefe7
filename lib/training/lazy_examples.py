"""Training examples that are encoded when asked for, for data that do not fit in memory.

The rows stay on disk (`lib.data.parquet.ParquetRows`); a process holds the examples of its last
steps. Encoding costs little beside training, and a pass over all of them is needed a few times:
for their lengths, their prompts, and the hash of the run.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

Example = TypeVar("Example")
KEPT = 4096  # examples that a process remembers


class Encoded(Sequence[Example]):
    """`encode` of each row, computed at each look except for the last few thousand."""

    def __init__(self, rows: Sequence[dict[str, Any]],
                 encode: Callable[[dict[str, Any]], Example]) -> None:
        self.rows = rows
        self._example = lru_cache(KEPT)(lambda index: encode(rows[index]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self.rows):
            raise IndexError(f"example {index} of {len(self.rows)}")
        return self._example(index)
