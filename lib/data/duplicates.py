"""Exact and near duplicates of texts, within a set and across two sets.

Exact duplicates are equal after normalisation (case, white space, punctuation). Near duplicates
have a high Jaccard similarity of their character 5-grams, which works in every language. MinHash
with banding gives candidates (Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3); the
similarity itself confirms each.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

NEAR = 0.7  # similarity from which two texts count as near duplicates
GRAM = 5  # characters
BANDS, BAND_ROWS = 20, 3  # finds a pair of similarity .7 with probability 1 - (1 - .7^3)^20 > .999
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
    exact, near = [], []
    for first, second, similarity in _matches([*train, *heldout], threshold):
        if first < len(train) <= second:
            pair = (first, second - len(train))
            if normalised(train[pair[0]]) == normalised(heldout[pair[1]]):
                exact.append(pair)
            else:
                near.append((*pair, similarity))
    return Overlap(len(train), len(heldout), tuple(exact), tuple(near))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[Match]:
    """Near duplicates, exact ones included, as pairs of indices, the smaller first."""
    return list(_matches(texts, threshold))


def normalised(text: str) -> str:
    """The text without case, white space and punctuation; a text of punctuation alone keeps it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip() or " ".join(folded.split())


def _matches(texts: Sequence[str], threshold: float) -> Iterator[Match]:
    grams = [_grams(normalised(text)) for text in texts]
    for first, second in _candidates(grams):
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


def _candidates(grams: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs that agree in all rows of at least one band of their signatures."""
    buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for index, signature in enumerate(map(_signature, grams)):
        for band, rows in enumerate(signature.reshape(BANDS, BAND_ROWS)):
            buckets[band, rows.tobytes()].append(index)
    return sorted({pair for bucket in buckets.values() for pair in combinations(bucket, 2)})


def _signature(hashes: np.ndarray) -> np.ndarray:
    """MinHash: for each of the hash functions the smallest value over all grams."""
    mixed = FACTORS[:, None] * (hashes ^ (hashes >> np.uint64(29)))[None, :] + OFFSETS[:, None]
    return (mixed >> np.uint64(32)).min(axis=1)


def _jaccard(first: np.ndarray, second: np.ndarray) -> float:
    shared = np.intersect1d(first, second, assume_unique=True).size
    return shared / (first.size + second.size - shared)
