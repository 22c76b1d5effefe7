"""Variety of texts: of a system's answers, or of the candidates for one prompt."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sacrebleu.metrics.bleu import BLEU

from lib.analysis.texts.repetition import ngrams

WORD = re.compile(r"\w+")
SELF_BLEU_TEXTS = 50  # cost grows with the square of the texts


def distinct_n(texts: Sequence[str], n: int, word_budget: int | None = None) -> float | None:
    """Unique n-grams over all n-grams, pooled over texts (Li et al. 1510.03055); None if none.

    It falls with total length, so word_budget cuts the pool to that many words.
    """
    pool, left = [], word_budget
    for text in texts:
        words = text.split()[:left]
        left = None if left is None else left - len(words)
        pool += ngrams(words, n)
    return len(set(pool)) / len(pool) if pool else None


def self_bleu(texts: Sequence[str], order: int = 2) -> float | None:
    """Mean BLEU of each text against the others, 0 to 1 (Texygen, 1802.01886); None for one text.

    n-grams up to `order`, whitespace words, no smoothing, closest-length brevity penalty; only the
    first 50 texts. High values mean similar texts.
    """
    texts = list(texts)[:SELF_BLEU_TEXTS]
    if len(texts) < 2:
        return None
    metric = BLEU(max_ngram_order=order, smooth_method="none", tokenize="none", force=True)
    scores = []
    for place, text in enumerate(texts):
        others = [[other] for other in texts[:place] + texts[place + 1:]]
        scores.append(metric.corpus_score([text], others).score / 100)
    return min(1.0, float(np.mean(scores)))  # BLEU of equal texts is 1 + 2e-16


def dispersion(similarity: ArrayLike) -> float | None:
    """Mean of 1 - similarity over all pairs of one prompt's candidates, [n, n]; None for n = 1.

    Average it over prompts, never pool prompts.
    """
    matrix = np.asarray(similarity, dtype=float)
    apart = 1 - matrix[np.triu_indices(len(matrix), k=1)]
    return float(apart.mean()) if apart.size else None


def effective_number(similarity: ArrayLike) -> float:
    """Vendi score: exp of the entropy of a similarity matrix's spectrum, [n, n] with ones inside.

    1 for equal texts, n for texts without similarity (Friedman & Dieng 2210.02410).
    """
    matrix = np.asarray(similarity, dtype=float)
    weights = np.linalg.eigvalsh(matrix / len(matrix))
    weights = weights[weights > 1e-12]
    return float(np.exp(-np.sum(weights * np.log(weights))))


def word_similarity(texts: Sequence[str]) -> np.ndarray:
    """Cosine of the word counts of each two texts, [N, N], from 0 (no word in common) to 1.

    MBR-BoN uses it as its utility, because it needs no further model; Jinnai et al. 2024 use
    sentence embeddings. A text without words is similar only to other such texts.
    """
    counts = [Counter(WORD.findall(text.lower())) for text in texts]
    column = {word: place for place, word in enumerate(set().union(*counts))}
    table = np.zeros((len(texts), len(column)))
    for row, words in zip(table, counts, strict=True):
        row[[column[word] for word in words]] = list(words.values())
    lengths = np.sqrt((table**2).sum(1))
    products = np.outer(lengths, lengths)
    both_empty = np.equal.outer(lengths, lengths).astype(float)  # where the product is 0
    return np.divide(table @ table.T, products, out=both_empty, where=products > 0)
