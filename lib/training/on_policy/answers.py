"""Sampled answers as token ids, and how they are packed so that a prompt's answers share it.

A row of the file (`lib.data.parquet`) is one answer: `id`, `prompt` (messages), `answer`, `score`
(null: not scored), `cut_off` (it ran into the token limit). Optional are `age`, the rounds since
another policy sampled it (0: the one that training starts from), `old_logps`, that policy's
log-probability of each token, `answer_ids`, the sampled tokens (the text may tokenise otherwise),
and `sft_weight`, the weight of -log p(answer) in the loss.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lib.data.chat import encode_prompt, encode_response
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.files import sha256_of_values
from lib.training.objective import ExampleGroup, PackedRow
from lib.training.settings import PolicyGradientSettings


@dataclass(frozen=True)
class Answer:
    """A scored answer as token ids; old_logps: one a token, None until they are computed."""

    id: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    score: float
    age: int = 0
    sft_weight: float = 0.0
    old_logps: tuple[float, ...] | None = None


@dataclass(frozen=True)
class EncodedAnswers:
    """Answers to train on, and the number of left-out rows by reason."""

    answers: list[Answer]
    dropped: dict[str, int]


def encode_answers(rows: Sequence[dict[str, Any]], tokenizer: Any, max_length: int,
                   settings: PolicyGradientSettings) -> EncodedAnswers:
    """Rows as token ids; a cut-off answer has no end of turn, and a penalty in its score.

    Left out and counted are rows without a score, longer than `max_length` with their prompt (a cut
    answer is not the one that was scored), older than `max_age`, cut off where those are masked, or
    alone: the others of a prompt and age are an answer's baseline. Raises ValueError where every
    answer is alone, and for an older row without its policy's log-probabilities.
    """
    dropped: Counter[str] = Counter()
    answers = []
    for row in rows:
        if reason := _unusable(row, settings):
            dropped[reason] += 1
            continue
        answer = _encode(row, tokenizer, settings)
        if len(answer.prompt) + len(answer.tokens) > max_length:
            dropped["too long"] += 1
        else:
            answers.append(answer)
    together = [index for group in group_answers(answers) if len(group) > 1 for index in group]
    if answers and not together:
        raise ValueError(f"none of {len(answers)} scored answers has another of its prompt and "
                         "age, which its advantage is measured against; sample at least 2 of each "
                         "prompt")
    if alone := len(answers) - len(together):
        dropped["alone"] = alone
    return EncodedAnswers([answers[index] for index in sorted(together)], dict(dropped))


def _unusable(row: dict[str, Any], settings: PolicyGradientSettings) -> str:
    score = row.get("score")
    if score is None or math.isnan(score):
        return "without a score"
    if (row.get("age") or 0) > settings.max_age:
        return "too old"
    return "cut off" if row["cut_off"] and settings.cut_off == "masked" else ""


def _encode(row: dict[str, Any], tokenizer: Any, settings: PolicyGradientSettings) -> Answer:
    age, old = row.get("age") or 0, row.get("old_logps")
    tokens = row.get("answer_ids") or encode_response(tokenizer, row["prompt"], row["answer"],
                                                      row["cut_off"])
    if age and old is None:
        raise ValueError(f"answer {row['id']} is {age} rounds old and has no old_logps; keep them "
                         "with the answers of each round, or leave old answers out")
    if old is not None and len(old) != len(tokens):
        raise ValueError(f"answer {row['id']} has {len(tokens)} tokens and {len(old)} old_logps; "
                         "keep text and log-probabilities of one tokenizer together")
    penalty = settings.cut_off_penalty if row["cut_off"] else 0.0
    return Answer(row["id"], tuple(encode_prompt(tokenizer, row["prompt"])), tuple(tokens),
                  row["score"] - penalty, age, row.get("sft_weight") or 0.0,
                  None if old is None else tuple(old))


def answers_hash(answers: Sequence[Answer]) -> str:
    """Hash of the answers' ids and tokens."""
    return sha256_of_values([answer.id, answer.prompt, answer.tokens] for answer in answers)


def group_answers(answers: Sequence[Answer]) -> list[list[int]]:
    """Indices of the answers by prompt and age, which one policy sampled, in order of the first."""
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index, answer in enumerate(answers):
        groups.setdefault((answer.prompt, answer.age), []).append(index)
    return list(groups.values())


def answer_rows(answers: Sequence[Answer], examples: Sequence[int], token_budget: int,
                device: torch.device) -> list[PackedRow]:
    """Pack answers into rows; those of one prompt share it where they fit the budget together.

    The row's answers stand in the order of its examples. Raises ValueError for a single answer that
    is longer, with its prompt, than the budget.
    """
    groups = answers_together(answers, examples, token_budget)
    packed = [[groups[i] for i in row]
              for row in pack([group.tokens for group in groups], token_budget)]
    return [PackedRow(collate([_shared(answers, group.examples) for group in row], device),
                      tuple(index for group in row for index in group.examples))
            for row in packed]


def answers_together(answers: Sequence[Answer], examples: Sequence[int],
                     token_budget: int) -> list[ExampleGroup]:
    """Groups of answers that share a prompt's computation, each within the budget."""
    groups: dict[tuple[int, ...], list[list[int]]] = {}
    for index in examples:
        parts = groups.setdefault(answers[index].prompt, [[]])
        if len(_shared(answers, [*parts[-1], index])) > token_budget:
            parts.append([])
        parts[-1].append(index)
    found = [ExampleGroup(part, len(_shared(answers, part)))
             for parts in groups.values() for part in parts if part]
    for group in found:
        if group.tokens > token_budget:
            raise ValueError(f"answer {answers[group.examples[0]].id} has {group.tokens} tokens "
                             f"with its prompt, more than token_budget={token_budget}; raise it or "
                             "lower max_length")
    return found


def _shared(answers: Sequence[Answer], examples: Sequence[int]) -> SharedPrompt:
    return SharedPrompt(answers[examples[0]].prompt, tuple(answers[i].tokens for i in examples))
