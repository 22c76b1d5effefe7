"""Training examples that are tokenised when asked for, for data that do not fit in memory.

The rows stay on disk (`lib.data.parquet.ParquetRows`). Tokenising costs little beside training, and
a pass over all examples is needed a few times: for their lengths, prompts, and the run's hash.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

Example = TypeVar("Example")
KEPT = 4096  # examples that a process remembers


class LazyExamples(Sequence[Example]):
    """Examples tokenised on first access; the last 4,096 stay cached."""

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
