"""Repetition within one text, the first failure of small models."""

from collections import Counter

NGRAM_OF_A_LOOP = 4
TIMES_OF_A_LOOP = 5
LONGEST_PERIOD = 40


def ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    """All n-grams of `words` in order, repeats included."""
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def seq_rep(text: str, n: int) -> float | None:
    """Share of n-grams that repeat an earlier one, 1 - unique / all (Welleck et al. 1908.04319).

    None for texts shorter than n words, for which it is not defined.
    """
    grams = ngrams(text.split(), n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def is_loop(text: str) -> bool:
    """Whether some 4-gram occurs at least five times."""
    counts = Counter(ngrams(text.split(), NGRAM_OF_A_LOOP))
    return max(counts.values(), default=0) >= TIMES_OF_A_LOOP


def longest_repeated_run(text: str) -> int:
    """Words in the longest run of one block repeated at least twice in a row; 0 if none.

    "a b a b a b c" has a run of 6; an incomplete last block counts. Blocks have up to 40 words.
    """
    words, longest = text.split(), 0
    for period in range(1, min(LONGEST_PERIOD, len(words) // 2) + 1):
        same = 0
        for word, earlier in zip(words[period:], words, strict=False):
            same = same + 1 if word == earlier else 0
            if same >= period:
                longest = max(longest, same + period)
    return longest
