"""Packed batches: sequences side by side in one row, hardly padded, every prompt computed once.

A `Tree` is one prompt and the answers to it. In the row its tokens stand as prompt, answer 1,
answer 2, ...; every answer goes on from the prompt's last position, attends to the prompt and to
itself, and does not see the other answers. A plain sequence is a tree with a single answer, a DPO
pair a tree with two, a Best-of-N pool a tree with N.

`pack` fills rows by token budget (best-fit decreasing), `collate` turns one row into tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lib.modeling.packed.attention import Layout, Span

ROW_MULTIPLE = 64  # tokens of a row; may exceed a budget that is none, see `collate`


@dataclass(frozen=True)
class Tree:
    """One prompt and the answers that share it, as token ids.

    `masks` (one list an answer, 1 = response token) is for multi-turn conversations in which user
    turns stand between response tokens; without it every answer token is a response token.
    """

    prompt: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    masks: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.branches))


@dataclass(frozen=True)
class PackedBatch:
    """One row of trees as tensors; T tokens, R response tokens, S answers in all.

    The layout may have one tree more than `trees`, see `collate`.

    input_ids, position_ids: [1, T]. predictors: [R], index of the token whose hidden state predicts
    the response token `targets` [R]; owners: [R], the answer (0..S-1) that it belongs to.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: Layout
    predictors: Tensor
    targets: Tensor
    owners: Tensor
    trees: int
    answers: int

    @property
    def tokens(self) -> int:
        """Tokens that are computed, T."""
        return self.input_ids.shape[1]

    @cached_property
    def branch_slices(self) -> list[list[slice]]:
        """For every tree, for every answer: its slice of the token axis."""
        return [list(span.branch_slices()) for span in self.layout.spans[:self.trees]]


def pack(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Best-fit decreasing: put each item into the fullest row that still has room for it.

    lengths: tokens of each item; an item longer than the budget gets a row of its own, because
    dropping or cutting it here would change the loss. Returns the item indices of each row, rows
    and items in the order of their first item, so that equal input gives equal rows.
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


def collate(trees: Sequence[Tree], device: torch.device | str = "cpu") -> PackedBatch:
    """Lay trees side by side; raises ValueError for a tree without tokens.

    A row is filled up to a multiple of ROW_MULTIPLE by a sequence of its own that nothing looks at.
    Kernels are then made for a few sizes; made for every one they took a tenth of the time, and
    memory that grew from step to step.
    """
    tokens: list[int] = []
    positions: list[int] = []
    spans: list[Span] = []
    scored: list[tuple[int, int, int]] = []  # (predictor, target, owner)
    owner = 0
    for tree in trees:
        if not tree.branches or not len(tree):
            raise ValueError("a tree without tokens cannot be packed; drop empty rows first")
        spans.append(Span(len(tokens), len(tree.prompt), tuple(map(len, tree.branches))))
        tokens += tree.prompt
        positions += range(len(tree.prompt))
        for branch, answer in enumerate(tree.branches):
            scored += _scored_tokens(tree, branch, spans[-1].start, len(tokens), owner)
            tokens += answer
            positions += range(len(tree.prompt), len(tree.prompt) + len(answer))
            owner += 1
    if spare := -len(tokens) % ROW_MULTIPLE:
        spans.append(Span(len(tokens), 0, (spare,)))
        tokens += [0] * spare
        positions += range(spare)
    predictors, targets, owners = torch.tensor(scored, dtype=torch.long).reshape(-1, 3).T
    return PackedBatch(
        torch.tensor([tokens], device=device), torch.tensor([positions], device=device),
        Layout(tuple(spans), len(tokens)), predictors.contiguous().to(device),
        targets.contiguous().to(device), owners.contiguous().to(device), len(trees), owner)


def _scored_tokens(tree: Tree, branch: int, prompt_start: int, start: int,
                   owner: int) -> list[tuple[int, int, int]]:
    """(predictor, target, owner) of each response token of one answer, in token positions."""
    answer = tree.branches[branch]
    mask = tree.masks[branch] if tree.masks else (1,) * len(answer)
    before_first = prompt_start + len(tree.prompt) - 1 if tree.prompt else None
    predictors = [before_first, *range(start, start + len(answer) - 1)]
    return [(predictor, token, owner)
            for predictor, token, scored in zip(predictors, answer, mask, strict=True)
            if scored and predictor is not None]
