"""Scored answers as arrays, on which heads are fitted and tested.

In: rows of `on_policy.jsonl`, `judged.jsonl` or `audit.jsonl` (a prompt and several answers with
scores). Out: conversations, scores and pairs of answers to the same prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from lib.data.schema import is_cut_off
from lib.inference.rewards import Conversation, conversation
from lib.runtime.files import Record, sha256_of_value


@dataclass(frozen=True)
class ScoredAnswers:
    """Answers with their scores; every array has one entry an answer, [answers].

    rows: number of the answer's row, of which a prompt that was read twice has two; groups: number
    of its prompt; lengths: characters, as in length-controlled win rates.
    """

    name: str
    conversations: list[Conversation]
    scores: np.ndarray
    rows: np.ndarray
    groups: np.ndarray
    sources: np.ndarray
    lengths: np.ndarray

    @cached_property
    def all_pairs(self) -> np.ndarray:
        """Indices of every two answers of one row, the better first; [pairs, 2].

        Scores of two readings of a prompt are not compared: a reader's scale drifts.
        """
        return pairs_within(self.scores, self.rows)

    @property
    def pairs(self) -> np.ndarray:
        """Those of `all_pairs` that differ in score; [pairs, 2]."""
        return self.all_pairs[self.gaps_of(self.all_pairs) > 0]

    @property
    def gaps(self) -> np.ndarray:
        """Score of the better minus score of the worse of `pairs`, [pairs]."""
        return self.gaps_of(self.pairs)

    def gaps_of(self, pairs: np.ndarray) -> np.ndarray:
        """Score of the first minus score of the second, [pairs]."""
        return self.scores[pairs[:, 0]] - self.scores[pairs[:, 1]]

    @property
    def digest(self) -> str:
        """SHA-256 of texts and scores, in hex."""
        return sha256_of_value([self.conversations, self.scores.tolist()])


def scored_answers(rows: Sequence[Record], name: str) -> ScoredAnswers:
    """Flatten rows {"prompt", "source", "answers": [{"text", "score"}]}; `name` appears in reports.

    Raises ValueError for a row without prompt, answers or a numeric score.
    """
    flat = [(number, row, answer) for number, row in enumerate(rows)
            for answer in _answers_of(row, number, name)]
    prompts: dict[str, int] = {}
    for _, row, _ in flat:
        prompts.setdefault(row["prompt"], len(prompts))
    return ScoredAnswers(
        name,
        [conversation(row["prompt"], answer["text"], is_cut_off(answer))
         for _, row, answer in flat],
        np.array([answer["score"] for _, _, answer in flat], dtype=np.float64),
        np.array([number for number, _, _ in flat], dtype=np.int64),
        np.array([prompts[row["prompt"]] for _, row, _ in flat], dtype=np.int64),
        np.array([row.get("source", "") for _, row, _ in flat], dtype=str),
        np.array([len(answer["text"]) for _, _, answer in flat], dtype=np.float64))


def pairs_within(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Every two answers of one group, the better first; [pairs, 2]."""
    pairs = [(a, b) if scores[a] >= scores[b] else (b, a) for group in np.unique(groups)
             for a, b in combinations(np.flatnonzero(groups == group), 2)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _answers_of(row: Record, number: int, name: str) -> list[dict[str, Any]]:
    answers: Any = row.get("answers")
    fine = "prompt" in row and isinstance(answers, list) and all(
        isinstance(answer.get("text"), str) and isinstance(answer.get("score"), int | float)
        for answer in answers)
    if not fine:
        raise ValueError(f"{name}, row {number + 1}: expected a prompt and answers with text and a "
                         "numeric score; see data/sample/README.md for the schema")
    return answers
