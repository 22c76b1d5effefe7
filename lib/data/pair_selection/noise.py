"""Flipped labels, to see how much of them a loss bears."""

import random
from collections.abc import Sequence
from typing import Any

from lib.data.schema import PreferenceRow
from lib.runtime.files import Record

COLUMNS = ("{}", "{}_ids", "cut_off_{}")  # of an answer, on either side


def flip_labels(rows: Sequence[PreferenceRow], share: float,
                seed: int) -> tuple[list[PreferenceRow], list[str]]:
    """The pairs with the two answers of a share of them swapped, and the ids of those.

    Exactly round(share * pairs) are flipped, drawn by the seed; a larger share flips the same ones
    and more. The scores stay where they are: a wrong label comes with a wrong score, so that no
    loss and no filter sees from a score which pairs are flipped. Raises ValueError for a share
    outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"label_noise is {share}; use a share of at least 0 and at most 1")
    drawn = random.Random(f"{seed}/noise").sample(range(len(rows)), len(rows))
    flipped = set(drawn[:round(share * len(rows))])
    return ([_swapped(row) if index in flipped else row for index, row in enumerate(rows)],
            [row["id"] for index, row in enumerate(rows) if index in flipped])


def _swapped(row: Record) -> Any:
    """The row with all that describes its answers, but for the scores, on the other side."""
    both = [[column.format(side) for side in ("chosen", "rejected")] for column in COLUMNS]
    return {**row, **{one: row[other] for names in both for one, other in (names, names[::-1])
                      if other in row}}
