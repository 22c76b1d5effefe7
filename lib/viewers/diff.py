"""Which words two answers share, by difflib's matching blocks on words.

Comes in: two texts. Goes out: character ranges to mark. Near-identical answers are best read by
what differs, unrelated ones by what they share; `WordDiff.kind` says which of the two is marked.
`web/diff.js` computes the same ranges in the page; a browser test holds the two together.
"""

import re
from collections import Counter
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from typing import Literal

Range = tuple[int, int]

# A word, one mark of punctuation, or one Chinese or Japanese character (no spaces between those).
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff]|[.,;:!?()\"]|[^\s.,;:!?()\"\u3040-\u30ff\u3400-\u9fff]+"
)
MOST_COMPARISONS = 400_000  # equal word pairs; beyond it difflib takes seconds on looping text
SHORTEST_PHRASE = 3  # shared words in a row that are worth marking between unrelated answers
PUNCTUATION = frozenset('.,;:!?()"')  # compared, but no word of a phrase


@dataclass(frozen=True)
class WordDiff:
    """Ranges to mark in both texts: words of only one (`changed`) or of both (`shared`)."""

    kind: Literal["changed", "shared", "too long"]
    share: float  # of the words that are in both, 0..1
    a: tuple[Range, ...] = ()
    b: tuple[Range, ...] = ()


def word_diff(a: str, b: str) -> WordDiff:
    """Compare two texts by words; character ranges are ordered and do not overlap."""
    spans_a, spans_b = _words(a), _words(b)
    words_a = [a[start:end] for start, end in spans_a]
    words_b = [b[start:end] for start, end in spans_b]
    if _comparisons(words_a, words_b) > MOST_COMPARISONS:
        return WordDiff("too long", 0.0)
    blocks = SequenceMatcher(None, words_a, words_b, autojunk=False).get_matching_blocks()
    share = 2 * sum(block.size for block in blocks) / max(1, len(words_a) + len(words_b))
    if share >= 0.5:
        return WordDiff("changed", share, _gaps(blocks, spans_a, 0), _gaps(blocks, spans_b, 1))
    phrases = [block for block in blocks
               if _length(words_a[block.a:block.a + block.size]) >= SHORTEST_PHRASE]
    return WordDiff("shared", share, _inside(phrases, spans_a, 0), _inside(phrases, spans_b, 1))


def _words(text: str) -> list[Range]:
    return [match.span() for match in WORD.finditer(text)]


def _comparisons(words_a: list[str], words_b: list[str]) -> int:
    counts = Counter(words_b)
    return sum(counts[word] for word in words_a)


def _length(words: list[str]) -> int:
    return sum(word not in PUNCTUATION for word in words)


def _inside(blocks: list[Match], spans: list[Range], side: int) -> tuple[Range, ...]:
    """Character ranges of the blocks themselves."""
    return tuple(
        (spans[block[side]][0], spans[block[side] + block.size - 1][1]) for block in blocks
    )


def _gaps(blocks: list[Match], spans: list[Range], side: int) -> tuple[Range, ...]:
    """Character ranges of the words between the blocks (the last block is difflib's empty end)."""
    ranges, word = [], 0
    for block in blocks:
        if word < block[side]:
            ranges.append((spans[word][0], spans[block[side] - 1][1]))
        word = block[side] + block.size
    return tuple(ranges)
