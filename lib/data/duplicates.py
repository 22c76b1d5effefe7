"""Exact and near duplicates of texts, within a set and across two sets.

Exact duplicates are equal after normalisation (case, white space, punctuation of sentences). Near
duplicates have a high Jaccard similarity of their character 5-grams, which works in every language.
MinHash with banding gives candidates (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch.
3); the similarity itself confirms each.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

NEAR = 0.7  # similarity from which two texts count as near duplicates
GRAM = 5  # characters
BANDS, BAND_ROWS = 20, 3  # finds a pair of similarity .7 with probability 1 - (1 - .7^3)^20 > .999
MOST = 32  # earlier texts with which one text is compared
# all but superscripts and fractions, which NFKC would join to the digits before: 10² is not 102
COMPATIBLE = re.compile("[^\u00b2\u00b3\u00b9\u2070-\u209c\u00bc-\u00be\u2150-\u215f]+")
INVISIBLE = re.compile("[\u00ad\u200b\ufeff]")  # soft hyphen, zero-width space, byte order mark
MARKS = r".,;:?!\u2026\u060c\u061b\u061f\u0964\u0965\u0589"  # those of Arabic, Hindi, Armenian too
QUOTES = r"\"\u201c-\u201f\u00ab\u00bb\u300c-\u300f"
# marks after a word and before a space close a sentence; `cd ..`, 3.5 and the factorial 5! do not
SENTENCE = re.compile(rf"(?<![\s{MARKS}])(?<![\d)](?=!))[{MARKS}]+(?=[\s{QUOTES}'\u2019)\]]|$)"
                      "|[\u3001\u3002\uff61\uff64]")
QUOTE = re.compile(rf"(?:(?<=\s)|^)[{QUOTES}]+|[{QUOTES}]+(?=\s|$)|[\u00bf\u00a1]")
HYPHEN = re.compile(r"(?<=[^\W\d_])[-_\u2010\u2011]+(?=[^\W\d_])")  # well-known, snake_case
SYMBOL = re.compile(r"[^\w\s]")
_generator = np.random.default_rng(20250607)  # fixed: the hash functions belong to the method
FACTORS = _generator.integers(1, 2**63, BANDS * BAND_ROWS, dtype=np.uint64) * 2 + 1
OFFSETS = _generator.integers(0, 2**63, BANDS * BAND_ROWS, dtype=np.uint64)

Match = tuple[int, int, float]  # index in the first set, index in the second, similarity


@dataclass(frozen=True)
class Overlap:
    """Held-out prompts in the training data; pairs are (train index, held-out index)."""

    train: int  # prompts compared
    heldout: int
    exact: tuple[tuple[int, int], ...]
    near: tuple[Match, ...]  # without the exact ones

    def to_dict(self) -> dict[str, object]:
        """JSON-serialisable counts and pairs."""
        return {"train": self.train, "heldout": self.heldout,
                "exact": [list(pair) for pair in self.exact],
                "near": [[*pair, round(similarity, 3)] for *pair, similarity in self.near]}


def overlap(train: Sequence[str], heldout: Sequence[str], threshold: float = NEAR) -> Overlap:
    """Exact and near matches between the prompts of two sets."""
    known, asked = [list(map(normalised, texts)) for texts in (train, heldout)]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(known):
        places[text].append(index)
    exact = [(first, second) for second, text in enumerate(asked) for first in places.get(text, ())]
    different = list(places)
    near = [(first, second - len(different), similarity)
            for place, second, similarity in _matches([*different, *asked], threshold,
                                                      len(different))
            if different[place] != asked[second - len(different)]
            for first in places[different[place]]]
    return Overlap(len(train), len(heldout), tuple(sorted(exact)), tuple(sorted(near)))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[Match]:
    """Near duplicates, exact ones included, as sorted pairs of indices, the smaller first.

    All pairs, unless a text resembles more than `MOST` earlier ones, as rows of one template do:
    then those it resembles most, so that time and memory grow with the number of texts.
    """
    return sorted(_matches(list(map(normalised, texts)), threshold))


def normalised(text: str) -> str:
    """The text without case, white space and the punctuation of sentences.

    Symbols stay, because they distinguish C, C++ and C#, or 7 + 8 and 7 - 8; so do the signs of
    every script, superscripts, and a text of punctuation alone.
    """
    folded = COMPATIBLE.sub(lambda part: unicodedata.normalize("NFKC", part[0]), text).casefold()
    folded = " ".join(INVISIBLE.sub("", folded).split())
    words = HYPHEN.sub(" ", QUOTE.sub("", SENTENCE.sub(" ", folded)))
    return " ".join(SYMBOL.sub(r" \g<0> ", words).split()) or folded


def _matches(texts: Sequence[str], threshold: float, known: int = 0) -> Iterator[Match]:
    """Similar pairs among normalised texts, or between the first `known` ones and the others."""
    grams = list(map(_grams, texts))
    for first, second in _candidates(grams, known):
        similarity = _jaccard(grams[first], grams[second])
        if similarity >= threshold:
            yield first, second, similarity


def _grams(text: str) -> np.ndarray:
    """Sorted hashes of the text's character n-grams, each once; uint64."""
    codes = np.frombuffer(text.ljust(GRAM).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    size = len(codes) - GRAM + 1
    hashes = np.zeros(size, dtype=np.uint64)
    for start in range(GRAM):  # a polynomial of the character codes, modulo 2^64
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[start:start + size]
    return np.unique(hashes)


def _candidates(grams: Sequence[np.ndarray], known: int) -> Iterator[tuple[int, int]]:
    """(earlier, later) texts that agree in all rows of a band of their signatures.

    known: compare later texts with the first so many alone; 0: all with each other. Of a text's
    candidates the `MOST` with the most equal bands are taken, and of a large bucket its ends.
    """
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for index, signature in enumerate(map(_signature, grams)):
        bands = [buckets[band, rows.tobytes()]
                 for band, rows in enumerate(signature.reshape(BANDS, BAND_ROWS))]
        if index >= known:
            equal = Counter(chain.from_iterable(map(_ends, bands)))
            yield from ((other, index) for other, _ in equal.most_common(MOST))
        if not known or index < known:
            for bucket in bands:
                bucket.append(index)


def _ends(bucket: list[int]) -> list[int]:
    return bucket if len(bucket) <= MOST else bucket[:MOST // 2] + bucket[-MOST // 2:]


def _signature(hashes: np.ndarray) -> np.ndarray:
    """MinHash: for each of the hash functions the smallest value over all grams."""
    mixed = FACTORS[:, None] * (hashes ^ (hashes >> np.uint64(29)))[None, :] + OFFSETS[:, None]
    return (mixed >> np.uint64(32)).min(axis=1)


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    shared = np.intersect1d(first, second, assume_unique=True).size
    return shared / (first.size + second.size - shared)
