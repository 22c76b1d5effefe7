"""Response rows of several systems as arrays over the same prompts.

In: rows of `responses/<system>.jsonl`, in any order. Out: each system's answer (its chosen
candidate), the score that each judge gave it, and its length. A system may have answered some of
the prompts of the one that answered most; any other prompt raises ValueError.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.statistics.outcomes import Floats, compare_scores
from lib.data.schema import is_missing
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row


def one_reader(answers: Sequence[Row], reader: str = OWN_READER) -> list[float | None]:
    """The scores that one reader gave to answers to a prompt, None for what this one did not read.

    Two readers' scales differ: the reader who read the most of the answers counts, the first of
    equal ones. An answer without `readings` has its one score in `rewards`, as that of `reader`.
    """
    readings = [_readings(answer, reader) for answer in answers]
    counts = Counter(name for each in readings for name in each)
    name = max(counts, key=lambda each: counts[each], default="")
    return [each.get(name) for each in readings]


def _readings(answer: Row, reader: str) -> Mapping[str, float]:
    score = answer.get("rewards", {}).get(reader)
    return answer.get("readings") or ({} if score is None else {reader: score})


def outcome(first: ArrayLike, second: ArrayLike, same_text: ArrayLike = False) -> Floats:
    """Who won, by one judge: 1 where `first` scores higher, 0.5 for a tie, 0 for a loss.

    Every comparison of the study follows this rule. Scores are compared exactly; answers with equal
    stripped texts tie whatever their scores; NaN where a score is missing and the texts differ. All
    arguments have one shape.
    """
    return np.where(same_text, 0.5, compare_scores(first, second))


@dataclass(frozen=True)
class Scoreboard:
    """Chosen answers of `systems` to the same prompts; NaN is a missing score.

    scores [judges, systems, prompts]; answers [systems, prompts] are candidates; texts [systems,
    prompts] are stripped, None where none of several candidates had a score to pick by, or a server
    gave no answer; tokens and characters [systems, prompts] are lengths of the answers; asked
    [systems, prompts] says which prompts a system was to answer.
    """

    systems: tuple[str, ...]
    judges: tuple[str, ...]
    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    scores: Floats
    answers: NDArray[np.object_]
    texts: NDArray[np.object_]
    tokens: Floats
    characters: Floats
    asked: NDArray[np.bool_]

    def outcomes(self, judge: str, first: str, second: str) -> Floats:
        """`outcome` of system `first` against `second`, [prompts].

        A reader reads some prompts only: what no `one_reader` read of both is missing, equal texts
        included. Raises ValueError for a system that is not on the board.
        """
        i, j = self.place(first), self.place(second)
        if judge == OWN_READER:
            return outcome(*np.array([one_reader(pair) for pair in zip(
                self.answers[i], self.answers[j], strict=True)], float).T)
        scores = self.scores[self.judges.index(judge)]
        same = [text is not None and text == other
                for text, other in zip(self.texts[i], self.texts[j], strict=True)]
        return outcome(scores[i], scores[j], same)

    def both_asked(self, first: str, second: str) -> NDArray[np.bool_]:
        """The prompts that both systems were to answer, [prompts]."""
        return self.asked[self.place(first)] & self.asked[self.place(second)]

    def place(self, system: str) -> int:
        """Index of a system on the board; raises ValueError for one that is not there."""
        if system not in self.systems:
            raise ValueError(f"{system} has no responses; expected one of "
                             f"{', '.join(self.systems)}")
        return self.systems.index(system)


def scoreboard(systems: Mapping[str, Sequence[Row]], judges: Sequence[str]) -> Scoreboard:
    """Align the rows of each system by prompt id, in the order of the one that answered most.

    Raises ValueError for fewer than one prompt, prompts that this one lacks or that one repeats, an
    id whose prompt differs, or a judge that scored nothing at all.
    """
    names = tuple(systems)
    order = _common_prompts(systems)
    by_id = {name: {row["id"]: row for row in systems[name]} for name in names}
    rows = [[by_id[name].get(key) for key in order] for name in names]
    answers = [[{} if row is None else chosen(row) for row in line] for line in rows]
    board = Scoreboard(
        names, tuple(judges), tuple(order),
        tuple(by_id[names[0]][key].get("source", "") for key in order),
        np.array([[[_score(answer, judge) for answer in line] for line in answers]
                  for judge in judges], dtype=float),
        np.array(answers, dtype=object),
        np.array([[chosen(row)["text"].strip() if row and _picked(row) else None for row in line]
                  for line in rows], dtype=object),
        np.array([[answer.get("tokens", np.nan) for answer in line] for line in answers], float),
        np.array([[len(answer["text"]) if answer and not is_missing(answer) else np.nan
                   for answer in line] for line in answers], float),
        np.array([[row is not None for row in line] for line in rows]))
    _check_judges(board)
    return board


def chosen(row: Row) -> Row:
    """The candidate that is the system's answer."""
    return row["candidates"][row["chosen"]]


def answered(rows: Sequence[Row]) -> list[Row]:
    """The rows of a system whose answer a server gave, if it came from one."""
    return [row for row in rows if not is_missing(chosen(row))]


def _picked(row: Row) -> bool:
    """Whether the answer is a pick: the only candidate, or one of several with a score."""
    candidates = row["candidates"]
    if is_missing(chosen(row)):
        return False
    return len(candidates) == 1 or any(score is not None for candidate in candidates
                                       for score in candidate.get("rewards", {}).values())


def _score(answer: Row, judge: str) -> float:
    score = answer.get("rewards", {}).get(judge)
    return np.nan if score is None else score


def _common_prompts(systems: Mapping[str, Sequence[Row]]) -> list[str]:
    if not systems:
        raise ValueError("no system was given; compare at least one")
    prompts = {name: _prompts(name, rows) for name, rows in systems.items()}
    empty = next((name for name, asked in prompts.items() if not asked), None)
    if empty is not None:
        raise ValueError(f"{empty} has no answers; a comparison needs at least one prompt")
    most = max(prompts, key=lambda name: len(prompts[name]))
    for other in prompts:
        _check_same(most, prompts[most], other, prompts[other])
    return list(prompts[most])


def _prompts(name: str, rows: Sequence[Row]) -> dict[str, str]:
    prompts = {row["id"]: row["prompt"] for row in rows}
    if len(prompts) < len(rows):
        ids = [row["id"] for row in rows]
        repeated = next(key for key in ids if ids.count(key) > 1)
        raise ValueError(f"{name} answers {repeated} more than once; keep one row a prompt")
    return prompts


def _check_same(first: str, a: dict[str, str], second: str, b: dict[str, str]) -> None:
    only_b = [key for key in b if key not in a]
    if only_b:
        raise ValueError(f"{first} and {second} answered different prompts: only {second} has "
                         f"{_some(only_b)}; give {second} prompts of {first} alone")
    changed = [key for key in b if a[key] != b[key]]
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
