"""Packed batches: sequences side by side in one row, hardly padded, every prompt computed once.

A `SharedPrompt` is one prompt and the answers to it. In the row its tokens stand as prompt, answer
1, answer 2, ...; every answer takes the positions after the prompt, attends to the prompt and to
itself, and does not see the other answers. A plain sequence is an empty prompt with one answer, a
DPO pair a prompt with two answers, a Best-of-N pool a prompt with N.

`pack` fills rows by token budget (best-fit decreasing), `collate` turns one row into tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

ROW_MULTIPLE = 64  # rows are padded to a multiple of it, so one may exceed token_budget by up to 63


@dataclass(frozen=True)
class SharedPrompt:
    """One prompt and the answers that share it, as token ids.

    `masks` (one list an answer, 1 = response token) is for multi-turn conversations in which user
    turns stand between response tokens; without it every answer token is a response token.
    """

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    masks: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.answers))

    def mask(self, place: int) -> tuple[int, ...]:
        """1 on each response token of an answer."""
        return self.masks[place] if self.masks else (1,) * len(self.answers[place])


@dataclass(frozen=True)
class Span:
    """Where one shared prompt lies in the row: first token, prompt's length, answers' lengths."""

    start: int
    prompt: int
    answers: tuple[int, ...]

    def answer_slices(self) -> Iterator[slice]:
        """The slice of the token axis of each answer."""
        begin = self.start + self.prompt
        for length in self.answers:
            yield slice(begin, begin + length)
            begin += length


class Layout:
    """The shared prompts of one row by position.

    `masks`: attention masks, which the first layer computes and all layers use.
    """

    def __init__(self, spans: tuple[Span, ...], tokens: int) -> None:
        self.spans, self.tokens = spans, tokens
        self.part_lengths = [length for span in spans
                             for length in (*([span.prompt] if span.prompt else []),
                                            *span.answers)]
        self.masks: dict[tuple[object, ...], Any] = {}

    def token_labels(self, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt's number, answer's number (0 = prompt) and position of each token, [tokens]."""
        prompt = torch.empty(self.tokens, dtype=torch.long)
        answer = torch.zeros(self.tokens, dtype=torch.long)
        position = torch.empty(self.tokens, dtype=torch.long)
        for number, span in enumerate(self.spans):
            prompt_end = span.start + span.prompt
            prompt[span.start:prompt_end + sum(span.answers)] = number
            position[span.start:prompt_end] = torch.arange(span.prompt)
            for place, piece in enumerate(span.answer_slices(), start=1):
                answer[piece] = place
                position[piece] = torch.arange(span.prompt, span.prompt + piece.stop - piece.start)
        return prompt.to(device), answer.to(device), position.to(device)


@dataclass(frozen=True)
class PackedBatch:
    """One row as tensors; T tokens, R response tokens, S answers in all.

    The layout may have one span more than `prompts`, the padding that `collate` adds.

    input_ids, position_ids: [1, T]. predict_from: [R], index of the token whose hidden state
    predicts the response token `targets` [R]; answer_of: [R], the answer (0..S-1) it belongs to.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    predict_from: Tensor
    targets: Tensor
    answer_of: Tensor
    prompts: int
    answers: int

    @property
    def tokens(self) -> int:
        """Tokens that are computed, T."""
        return self.input_ids.shape[1]

    @cached_property
    def answer_slices(self) -> list[list[slice]]:
        """For every shared prompt, for every answer: its slice of the token axis."""
        return [list(span.answer_slices()) for span in self.layout.spans[:self.prompts]]


def pack(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Best-fit decreasing: put each item into the fullest row that still has room for it.

    lengths: tokens of each item; an item longer than the budget is alone in its row, because to
    drop or cut it would change the loss. Returns the sorted item indices of each row, rows by their
    first item.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda item: (-lengths[item], item)):
        fits = [row for row, left in enumerate(room) if left >= lengths[index]]
        if fits:
            best = min(fits, key=lambda row: room[row])
            rows[best].append(index)
            room[best] -= lengths[index]
        else:
            rows.append([index])
            room.append(token_budget - lengths[index])
    return sorted(sorted(row) for row in rows)


def collate(prompts: Sequence[SharedPrompt], device: torch.device | str = "cpu") -> PackedBatch:
    """Lay shared prompts side by side; raises ValueError for one without tokens.

    A further sequence, which no other sees, pads the row to a multiple of ROW_MULTIPLE, so that
    kernels are compiled for a few sizes only; for every size, that took a tenth of the time and
    memory that grew from step to step.
    """
    tokens: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    scored: list[tuple[int, int, int]] = []  # (predict_from, target, answer_of)
    number = 0
    for shared in prompts:
        if not shared.answers or not len(shared):
            raise ValueError("a prompt without tokens cannot be packed; drop empty rows first")
        spans.append(Span(len(tokens), len(shared.prompt), tuple(map(len, shared.answers))))
        tokens += shared.prompt
        positions += range(len(shared.prompt))
        for place, answer in enumerate(shared.answers):
            scored += _scored_tokens(shared, place, spans[-1].start, len(tokens), number)
            tokens += answer
            positions += range(len(shared.prompt), len(shared.prompt) + len(answer))
            number += 1
    if spare := -len(tokens) % ROW_MULTIPLE:
        spans.append(Span(len(tokens), 0, (spare,)))
        tokens += [0] * spare
        positions += range(spare)
    predict_from, targets, answer_of = torch.tensor(scored, dtype=torch.long).reshape(-1, 3).T
    return PackedBatch(
        torch.tensor([tokens], device=device), torch.tensor([positions], device=device),
        Layout(tuple(spans), len(tokens)), predict_from.contiguous().to(device),
        targets.contiguous().to(device), answer_of.contiguous().to(device), len(prompts), number)


def _scored_tokens(shared: SharedPrompt, place: int, prompt_start: int, start: int,
                   number: int) -> list[tuple[int, int, int]]:
    """(predict_from, target, answer_of) of each response token of one answer."""
    answer = shared.answers[place]
    mask = shared.mask(place)
    before_first = prompt_start + len(shared.prompt) - 1 if shared.prompt else None
    predict_from = [before_first, *range(start, start + len(answer) - 1)]
    return [(position, token, number)
            for position, token, scored in zip(predict_from, answer, mask, strict=True)
            if scored and position is not None]
