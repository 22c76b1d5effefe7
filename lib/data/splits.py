"""Training and validation by prompt, and smaller held-out sets, seeded and balanced by source.

All pairs of a prompt go to one side: after a split by pair, validation would measure memory.
Held-out subsets are nested: the 64 prompts of a seed are among its 128.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from lib.data.duplicates import normalised
from lib.data.schema import prompt_text
from lib.runtime.files import Record

SomeRow = TypeVar("SomeRow", bound=Record)
Key = TypeVar("Key", str, int)  # a prompt's text, or a row's place


def split_by_prompt(rows: Sequence[SomeRow], validation_share: float,
                    seed: int) -> tuple[list[SomeRow], list[SomeRow]]:
    """(train, validation): a share of the prompts of every source, rows in their old order.

    The number of validation prompts is rounded, and at least one for a positive share of two
    prompts or more. Raises ValueError for a share outside [0, 1).
    """
    if not 0 <= validation_share < 1:
        raise ValueError(f"validation_share is {validation_share}; use 0 or more and below 1")
    keys = [normalised(prompt_text(row)) for row in rows]
    sources: dict[str, str] = {}
    for key, row in zip(keys, rows, strict=True):
        sources.setdefault(key, row["source"])
    count = round(validation_share * len(sources))
    if validation_share > 0 and len(sources) > 1:
        count = max(count, 1)
    validation = set(_balanced(sources, count, random.Random(f"{seed}/validation")))
    return ([row for key, row in zip(keys, rows, strict=True) if key not in validation],
            [row for key, row in zip(keys, rows, strict=True) if key in validation])


def rows_to_read(rows: int | None, validation_share: float) -> tuple[int | None, float]:
    """Rows to read so that validation takes none of the `rows` to train on, and its share of them.

    None reads all rows, and validation takes its share of those.
    """
    if rows is None:
        return None, validation_share
    beside = round(rows * validation_share)
    return rows + beside, beside / (rows + beside)


def held_out_subset(rows: Sequence[SomeRow], n: int, seed: int) -> list[SomeRow]:
    """n rows in their old order, as equally from each source as possible.

    Raises ValueError if n is not between 1 and the number of rows.
    """
    if not 1 <= n <= len(rows):
        raise ValueError(f"{n} held-out prompts are set; use 1 to {len(rows)}")
    sources = {index: row["source"] for index, row in enumerate(rows)}
    taken = set(_round_robin(sources, random.Random(f"{seed}/heldout"))[:n])
    return [row for index, row in enumerate(rows) if index in taken]


def _round_robin(sources: Mapping[Key, str], generator: random.Random) -> list[Key]:
    """All keys, one of each source in turn, shuffled within their source."""
    groups = _shuffled_groups(sources, generator)
    turns = [(turn, order, key) for order, group in enumerate(groups)
             for turn, key in enumerate(group)]
    return [key for _, _, key in sorted(turns, key=lambda entry: entry[:2])]


def _balanced(sources: Mapping[Key, str], count: int, generator: random.Random) -> list[Key]:
    """`count` keys, from each source in proportion to its size (largest remainders)."""
    groups = _shuffled_groups(sources, generator)
    shares = [len(group) * count / max(len(sources), 1) for group in groups]
    quotas = [int(share) for share in shares]
    by_remainder = sorted(range(len(groups)), key=lambda index: quotas[index] - shares[index])
    for index in by_remainder[:count - sum(quotas)]:
        quotas[index] += 1
    return [key for group, quota in zip(groups, quotas, strict=True) for key in group[:quota]]


def _shuffled_groups(sources: Mapping[Key, str], generator: random.Random) -> list[list[Key]]:
    """The keys of each source; sources and keys in a seeded random order."""
    groups: dict[str, list[Key]] = defaultdict(list)
    for key, source in sources.items():
        groups[source].append(key)
    shuffled = list(groups.values())
    generator.shuffle(shuffled)
    for group in shuffled:
        generator.shuffle(group)
    return shuffled
