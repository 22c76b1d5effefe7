"""A text cut into pieces, so that a renderer can mark some of them.

Two kinds of marks may overlap: words of a diff and finds of a search. `web/text.js` cuts the same.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lib.viewers.diff import Range

CLIP = 4000  # characters shown before "more"; nearly all answers of the paper profile fit
MOST_FINDS = 500  # marked finds in one text; beyond it marks help nobody


@dataclass(frozen=True)
class Piece:
    """A stretch of text that is marked in one way; `mark` is "", "changed" or "shared"."""

    text: str
    mark: str
    found: bool


@dataclass(frozen=True)
class Shown:
    """A text ready for the `text` macro: its first CLIP characters, and the rest behind a click."""

    head: tuple[Piece, ...]
    rest: tuple[Piece, ...] = ()
    rest_length: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing but white space to see."""
        return not any(piece.text.strip() for piece in (*self.head, *self.rest))


def shown(text: str, ranges: Sequence[Range] = (), mark: str = "", search: str = "") -> Shown:
    """Cut `text` at the edges of the diff `ranges` (drawn as `mark`) and of every find."""
    finds = _finds(text, search)
    return Shown(
        _cut(text, 0, min(CLIP, len(text)), ranges, mark, finds),
        _cut(text, CLIP, len(text), ranges, mark, finds),
        max(0, len(text) - CLIP),
    )


def _cut(
    text: str, start: int, end: int, ranges: Sequence[Range], mark: str, finds: Sequence[Range]
) -> tuple[Piece, ...]:
    edges = {edge for span in (*ranges, *finds) for edge in span if start < edge < end}
    cuts = sorted({start, end, *edges}) if start < end else []
    return tuple(
        Piece(text[left:right], mark if _within(left, ranges) else "", _within(left, finds))
        for left, right in pairwise(cuts)
    )


def _finds(text: str, search: str) -> list[Range]:
    needle, haystack = search.lower(), text.lower()
    if not needle or len(haystack) != len(text):  # places must stay those of `text` ("İ" grows)
        return []
    finds, start = [], haystack.find(needle)
    while start >= 0 and len(finds) < MOST_FINDS:
        finds.append((start, start + len(needle)))
        start = haystack.find(needle, start + len(needle))
    return finds


def _within(place: int, ranges: Sequence[Range]) -> bool:
    """Whether one of the ordered ranges covers the place."""
    before = bisect_right(ranges, (place, float("inf"))) - 1
    return before >= 0 and place < ranges[before][1]
