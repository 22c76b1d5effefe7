"""What an answer shares with a written reference answer, as numbers for a reward head.

Seven overlaps, each from 0 (nothing) to 1: they see whether the facts, numbers and phrases of the
reference are there, which the hidden states of a small model hardly tell. No model is read. In any
language without spaces between words only the character n-grams (chrF, Popovic 2015) tell much.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from sacrebleu.metrics.chrf import CHRF
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

OVERLAPS = ("chrF", "recall of words", "precision of words", "F1 of words",
            "recall of word pairs", "recall of numbers", "precision of numbers")
WORD, NUMBER = re.compile(r"\w+"), re.compile(r"\d+(?:\.\d+)?")
CHRF_SCORE = CHRF()


def overlaps(answer: str, reference: str) -> np.ndarray:
    """The seven numbers of `OVERLAPS`, float32; 0 where the answer or the reference has none.

    Words leave out English function words (scikit-learn's list); a repeated word counts as often as
    both texts have it.
    """
    words, expected = (WORD.findall(text.lower()) for text in (answer, reference))
    content, wanted = ([word for word in text if word not in ENGLISH_STOP_WORDS]
                       for text in (words, expected))
    recall, precision = _shared(content, wanted)
    numbers = _shared(sorted(set(NUMBER.findall(answer))), sorted(set(NUMBER.findall(reference))))
    characters = CHRF_SCORE.sentence_score(answer, [reference]).score / 100
    both = 2 * recall * precision / (recall + precision) if recall else 0.0
    pairs, _ = _shared(_pairs(words), _pairs(expected))
    return np.array([characters, recall, precision, both, pairs, *numbers], dtype=np.float32)


def _shared(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> tuple[float, float]:
    """(recall, precision): the shared items as shares of `theirs` and of `ours`; 0 of nothing."""
    shared = (Counter(ours) & Counter(theirs)).total()
    recall, precision = (shared / len(items) if items else 0.0 for items in (theirs, ours))
    return recall, precision


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(words, words[1:], strict=False))
