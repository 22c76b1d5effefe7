"""Training examples that are tokenised on access, for data that do not fit in memory.

The rows stay on disk (`lib.data.parquet.ParquetRows`). A run passes over all examples a few times
more, for lengths, prompts and its hash; tokenising costs little beside training.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

Example = TypeVar("Example")
KEPT = 4096  # examples in a process's cache


class LazyExamples(Sequence[Example]):
    """Examples tokenised on first access; the last 4,096 stay cached."""

    def __init__(self, rows: Sequence[dict[str, Any]],
                 encode: Callable[[dict[str, Any]], Example]) -> None:
        self.rows = rows
        self._example = lru_cache(KEPT)(lambda index: encode(rows[index]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices are taken
        if not 0 <= index < len(self.rows):
            raise IndexError(f"example {index} of {len(self.rows)}")
        return self._example(index)
