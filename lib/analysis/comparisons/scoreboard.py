"""Response rows of several systems laid out as arrays: the same prompts, systems beside each other.

In: rows of `responses/<system>.jsonl`. Out: for each system the answer it gave (its chosen
candidate), what each judge scored it, and its length. Systems that answered different prompts are
refused; the order of rows does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scoreboard:
    """Chosen answers of `systems` to the same prompts; NaN is a score that is missing.

    scores [judges, systems, prompts]; text_ids [systems, prompts] are equal for equal texts and -1
    where nothing was picked, because none of several candidates could be scored; tokens and
    characters [systems, prompts] are lengths of the answers.
    """

    systems: tuple[str, ...]
    judges: tuple[str, ...]
    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    scores: Floats
    text_ids: NDArray[np.int64]
    tokens: Floats
    characters: Floats

    def outcomes(self, judge: str, first: int, second: int) -> Floats:
        """1 where system `first` wins, 0.5 for a tie, 0 for a loss, NaN if missing, [prompts].

        Identical texts are ties whatever the scores say, unless one was never picked.
        """
        scores = self.scores[self.judges.index(judge)]
        compared = (np.sign(scores[first] - scores[second]) + 1) / 2
        same = self.text_ids[first] == self.text_ids[second]
        picked = (self.text_ids[first] >= 0) & (self.text_ids[second] >= 0)
        return np.where(same & picked, 0.5, compared)


def scoreboard(systems: Mapping[str, Sequence[Row]], judges: Sequence[str]) -> Scoreboard:
    """Align the rows of each system by prompt id (the first system's order).

    Raises ValueError for fewer than one prompt, prompts that a system lacks or repeats, an id whose
    prompt differs, or a judge that scored nothing at all.
    """
    names = tuple(systems)
    order = _common_prompts(systems)
    by_id = {name: {row["id"]: row for row in systems[name]} for name in names}
    answers = {name: [chosen(by_id[name][key]) for key in order] for name in names}
    texts = {text: number for number, text in enumerate(
        dict.fromkeys(answer["text"].strip() for name in names for answer in answers[name]))}
    board = Scoreboard(
        names, tuple(judges), tuple(order),
        tuple(by_id[names[0]][key].get("source", "") for key in order),
        np.array([[[_score(answer, judge) for answer in answers[name]] for name in names]
                  for judge in judges], dtype=float),
        np.array([[texts[chosen(row)["text"].strip()] if _picked(row) else -1
                   for row in (by_id[name][key] for key in order)] for name in names]),
        np.array([[answer.get("tokens", np.nan) for answer in answers[name]] for name in names],
                 dtype=float),
        np.array([[len(answer["text"]) for answer in answers[name]] for name in names], float))
    _check_judges(board)
    return board


def chosen(row: Row) -> Row:
    """The candidate that the system gave as its answer."""
    return row["candidates"][row["chosen"]]


def _picked(row: Row) -> bool:
    """Whether the answer was picked: alone, or with a score among its candidates to go by."""
    candidates = row["candidates"]
    return len(candidates) == 1 or any(score is not None for candidate in candidates
                                       for score in candidate.get("rewards", {}).values())


def _score(answer: Row, judge: str) -> float:
    score = answer.get("rewards", {}).get(judge)
    return np.nan if score is None else score


def _common_prompts(systems: Mapping[str, Sequence[Row]]) -> list[str]:
    if not systems:
        raise ValueError("no system was given; compare at least one")
    first, *others = systems
    prompts = {name: _prompts(name, rows) for name, rows in systems.items()}
    if not prompts[first]:
        raise ValueError(f"{first} has no answers; a comparison needs at least one prompt")
    for other in others:
        _check_same(first, prompts[first], other, prompts[other])
    return list(prompts[first])


def _prompts(name: str, rows: Sequence[Row]) -> dict[str, str]:
    prompts = {row["id"]: row["prompt"] for row in rows}
    if len(prompts) < len(rows):
        ids = [row["id"] for row in rows]
        repeated = next(key for key in ids if ids.count(key) > 1)
        raise ValueError(f"{name} answers {repeated} more than once; keep one row a prompt")
    return prompts


def _check_same(first: str, a: dict[str, str], second: str, b: dict[str, str]) -> None:
    only_a, only_b = [key for key in a if key not in b], [key for key in b if key not in a]
    if only_a or only_b:
        raise ValueError(f"{first} and {second} answered different prompts: only {first} has "
                         f"{_some(only_a)}, only {second} has {_some(only_b)}; "
                         "answer the same prompts with both")
    changed = [key for key in a if a[key] != b[key]]
    if changed:
        raise ValueError(f"{first} and {second} have different prompts under the same id: "
                         f"{_some(changed)}; answer the same prompts with both")


def _some(keys: list[str]) -> str:
    shown = ", ".join(map(str, keys[:3])) or "none"
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown


def _check_judges(board: Scoreboard) -> None:
    for judge, scores in zip(board.judges, board.scores, strict=True):
        if np.isnan(scores).all():
            raise ValueError(f"{judge} scored no answer of {', '.join(board.systems)}; "
                             "score the responses with it first")
