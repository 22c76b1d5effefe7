"""Preference pairs from scored answers of the model itself.

Both answers of a pair that someone else wrote are improbable under a small model; its own answers
differ in what it can change. Notebook 03 compares the two kinds at two learning rates. The scores
determine every pair, so two runs make the same ones.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Literal

from lib.data.schema import PreferenceRow, ScoredAnswer, ScoredRow, is_cut_off, prompt_of


def pairs_from_scored(rows: Sequence[ScoredRow], min_gap: float,
                      keep: Literal["best_worst", "all"] = "best_worst") -> list[PreferenceRow]:
    """Pairs whose scores differ, and by at least `min_gap`; a chosen answer is never cut off.

    keep: the best against the worst answer of each prompt, or every pair of its answers. The id is
    "prompt id/index of chosen>index of rejected". A cut-off answer may be rejected, without an end
    of turn that the model never wrote; as chosen it would teach a model not to stop.
    """
    pick = _best_worst if keep == "best_worst" else _all
    return [_pair(row, chosen, rejected)
            for row in rows
            for chosen, rejected in pick(row["answers"])
            if _far_enough(row["answers"][chosen], row["answers"][rejected], min_gap)]


def _best_worst(answers: Sequence[ScoredAnswer]) -> Iterator[tuple[int, int]]:
    """At most one pair of indices; the first answer of equal scores."""
    finished = [index for index, answer in enumerate(answers) if not is_cut_off(answer)]
    if finished:
        yield (max(finished, key=lambda index: answers[index]["score"]),
               min(range(len(answers)), key=lambda index: answers[index]["score"]))


def _all(answers: Sequence[ScoredAnswer]) -> Iterator[tuple[int, int]]:
    for chosen, rejected in permutations(range(len(answers)), 2):
        if not is_cut_off(answers[chosen]):
            yield chosen, rejected


def _far_enough(chosen: ScoredAnswer, rejected: ScoredAnswer, min_gap: float) -> bool:
    gap = chosen["score"] - rejected["score"]
    return gap > 0 and gap >= min_gap


def _pair(row: ScoredRow, chosen: int, rejected: int) -> PreferenceRow:
    answers = row["answers"]
    return {"id": f"{row['id']}/{chosen}>{rejected}",
            "prompt": prompt_of(row),
            "chosen": answers[chosen]["text"], "rejected": answers[rejected]["text"],
            "score_chosen": answers[chosen]["score"],
            "score_rejected": answers[rejected]["score"],
            "cut_off_chosen": is_cut_off(answers[chosen]),
            "cut_off_rejected": is_cut_off(answers[rejected]), "source": row["source"]}
