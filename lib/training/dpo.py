"""Preference optimisation on pairs that share their prompt's computation.

Within one optimizer step, pairs of one prompt become one tree: the prompt is computed once, every
distinct answer once, and each pair picks its two answers' log-probabilities from the row. The loss
is the mean over the step's pairs. Reference log-probabilities come from `lib.training.reference`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib.data.tokens import pair_ids, with_ids
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import Tree, collate, pack
from lib.runtime.files import sha256_of_value, sha256_of_values
from lib.training import losses
from lib.training.objective import Metrics, Row
from lib.training.parallel.processes import Unit
from lib.training.settings import DPOSettings


@dataclass(frozen=True)
class Pair:
    """One preference as token ids; `score_gap` is chosen minus rejected score, if known."""

    id: str
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    score_gap: float | None = None


def encode_pairs(rows: Sequence[dict[str, Any]], tokenizer: Any, max_length: int) -> list[Pair]:
    """Preference rows as token ids; prompt with answer is cut to `max_length` (start kept).

    Ids that the data stage stored are used.
    """
    return [_pair(row, max_length) for row in with_ids(rows, tokenizer, pair_ids)]


def _pair(row: dict[str, Any], max_length: int) -> Pair:
    prompt = tuple(row["prompt_ids"])
    room = max(0, max_length - len(prompt))
    chosen, rejected = (tuple(row[f"{side}_ids"][:room]) for side in ("chosen", "rejected"))
    scores = row.get("score_chosen"), row.get("score_rejected")
    gap = None if None in scores else scores[0] - scores[1]
    return Pair(row["id"], prompt, chosen, rejected, gap)


def pairs_hash(pairs: Sequence[Pair]) -> str:
    """Hash of the pairs' ids and tokens."""
    return sha256_of_values([p.id, p.prompt, p.chosen, p.rejected] for p in pairs)


@dataclass(frozen=True)
class PairIndex:
    """Which answers of a row form its pairs: positions among the row's S answers, [pairs]."""

    chosen: Tensor
    rejected: Tensor


def pair_rows(pairs: Sequence[Pair], examples: Sequence[int], token_budget: int,
              device: torch.device) -> list[Row]:
    """Pack pairs into rows; pairs of one prompt share it while they fit the budget together.

    Raises ValueError for a single pair that is longer than the budget.
    """
    groups = _groups(pairs, examples, token_budget)
    trees = [_tree(pairs, group) for group in groups]
    return [_row(pairs, [groups[i] for i in row], [trees[i] for i in row], device)
            for row in pack([len(tree) for tree in trees], token_budget)]


def _groups(pairs: Sequence[Pair], examples: Sequence[int], token_budget: int) -> list[list[int]]:
    """Examples that share a prompt, as far as they fit the budget together."""
    by_prompt: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for example in examples:
        by_prompt[pairs[example].prompt].append(example)
    return [part for group in by_prompt.values() for part in _fitting(pairs, group, token_budget)]


def pair_units(pairs: Sequence[Pair], examples: Sequence[int], token_budget: int) -> list[Unit]:
    """Pairs that share a prompt's computation, with the tokens that each group takes."""
    return [(group, len(_tree(pairs, group)))
            for group in _groups(pairs, examples, token_budget)]


def _fitting(pairs: Sequence[Pair], group: list[int], token_budget: int) -> list[list[int]]:
    """The group whole if its tree fits a row, else halved until it does."""
    if len(_tree(pairs, group)) <= token_budget:
        return [group]
    if len(group) == 1:
        raise ValueError(f"pair {pairs[group[0]].id} has {len(_tree(pairs, group))} tokens, more "
                         f"than token_budget={token_budget}; raise it or lower max_length")
    half = len(group) // 2
    return (_fitting(pairs, group[:half], token_budget)
            + _fitting(pairs, group[half:], token_budget))


def _tree(pairs: Sequence[Pair], group: Sequence[int]) -> Tree:
    """One prompt with every distinct answer of its pairs, in order of appearance."""
    answers = dict.fromkeys(a for i in group for a in (pairs[i].chosen, pairs[i].rejected))
    return Tree(pairs[group[0]].prompt, tuple(answers))


def _row(pairs: Sequence[Pair], groups: list[list[int]], trees: list[Tree],
         device: torch.device) -> Row:
    chosen, rejected, examples, offset = [], [], [], 0
    for group, tree in zip(groups, trees, strict=True):
        place = {answer: offset + number for number, answer in enumerate(tree.branches)}
        chosen += [place[pairs[i].chosen] for i in group]
        rejected += [place[pairs[i].rejected] for i in group]
        examples += group
        offset += len(tree.branches)
    index = PairIndex(torch.tensor(chosen, device=device), torch.tensor(rejected, device=device))
    return Row(collate(trees, device), tuple(examples), index)


class DPOObjective:
    """Pairs with their reference log-probabilities; see `lib.training.objective.Objective`.

    reference: [pairs, 2] float32, summed log-probabilities of chosen and rejected.
    """

    def __init__(self, pairs: Sequence[Pair], reference: Tensor, settings: DPOSettings) -> None:
        self.pairs, self.reference, self.settings = pairs, reference, settings
        self.groups = group_by_prompt(pairs)

    def rows(self, examples: Sequence[int], device: torch.device) -> list[Row]:
        """Rows of whole pairs, prompts shared."""
        return pair_rows(self.pairs, examples, self.settings.token_budget, device)

    def weight(self, examples: Sequence[int]) -> float:
        """Number of pairs."""
        return len(examples)

    def units(self, examples: Sequence[int]) -> list[Unit]:
        """Pairs of one prompt together."""
        return pair_units(self.pairs, examples, self.settings.token_budget)

    def tokens(self, examples: Sequence[int]) -> int:
        """Prompt and answer of both sequences of every pair."""
        return sum(2 * len(self.pairs[i].prompt) + len(self.pairs[i].chosen)
                   + len(self.pairs[i].rejected) for i in examples)

    def loss(self, model: nn.Module, row: Row) -> tuple[Tensor, Metrics]:
        """Summed loss of the row's pairs, sums of TRL's metrics; rewards are beta log-ratios."""
        logps = response_logps(model, row.batch)
        chosen, rejected = logps[row.extra.chosen], logps[row.extra.rejected]
        reference = self.reference[list(row.examples)].to(logps.device)
        per_pair = self._per_pair(chosen, rejected, reference, row.examples)
        return per_pair.sum(), self._metrics(chosen.detach(), rejected.detach(), reference)

    def _per_pair(self, chosen: Tensor, rejected: Tensor, reference: Tensor,
                  examples: Sequence[int]) -> Tensor:
        settings = self.settings
        four = (chosen, rejected, reference[:, 0], reference[:, 1], settings.beta)
        if settings.loss in ("dpo", "robust"):
            function = losses.dpo_loss if settings.loss == "dpo" else losses.robust_dpo_loss
            return function(*four, settings.label_smoothing)
        if settings.loss in ("ipo", "cal_dpo"):
            return getattr(losses, f"{settings.loss}_loss")(*four)
        pairs = [self.pairs[i] for i in examples]
        if settings.loss == "odpo":
            return losses.odpo_loss(*four, chosen.new_tensor([_gap_of(pair) for pair in pairs]))
        lengths = [chosen.new_tensor([len(getattr(pair, side)) for pair in pairs])
                   for side in ("chosen", "rejected")]
        function = {"simpo": losses.simpo_loss,
                    "length_normalised": losses.length_normalised_dpo_loss}[settings.loss]
        return function(*four, *lengths)

    def _metrics(self, chosen: Tensor, rejected: Tensor, reference: Tensor) -> Metrics:
        beta = self.settings.beta
        reward_chosen = losses.implicit_rewards(chosen, reference[:, 0], beta)
        reward_rejected = losses.implicit_rewards(rejected, reference[:, 1], beta)
        sums = {"rewards/chosen": reward_chosen, "rewards/rejected": reward_rejected,
                "rewards/margins": reward_chosen - reward_rejected,
                "rewards/accuracies": (reward_chosen > reward_rejected).float(),
                "logps/chosen": chosen, "logps/rejected": rejected}
        return {name: value.sum().item() for name, value in sums.items()}

    def key(self) -> str:
        """Hash of the pairs and of the reference log-probabilities."""
        return sha256_of_value([pairs_hash(self.pairs), self.reference.tolist()])


def _gap_of(pair: Pair) -> float:
    if pair.score_gap is None:
        raise ValueError(f"pair {pair.id} has no scores; loss=odpo needs score_chosen and "
                         "score_rejected on every row")
    return pair.score_gap


def group_by_prompt(pairs: Sequence[Pair]) -> list[list[int]]:
    """Indices of pairs by prompt, in order of first appearance."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        groups[pair.prompt].append(index)
    return list(groups.values())


def pair_rewards(model: nn.Module, objective: DPOObjective,
                 device: torch.device) -> list[dict[str, Any]]:
    """Implicit rewards of every pair under a trained model: {"id", "prompt", "chosen", "rejected"}.

    `prompt` numbers the pair's prompt, so that intervals can resample prompts.
    """
    rows = []
    numbers = {example: number for number, group in enumerate(objective.groups)
               for example in group}
    with torch.no_grad():
        for row in objective.rows(list(numbers), device):
            logps, reference = response_logps(model, row.batch), objective.reference
            for place, example in enumerate(row.examples):
                chosen, rejected = (
                    (logps[index[place]].item() - reference[example, side].item())
                    for side, index in enumerate((row.extra.chosen, row.extra.rejected)))
                rows.append({"id": objective.pairs[example].id, "prompt": numbers[example],
                             "chosen": objective.settings.beta * chosen,
                             "rejected": objective.settings.beta * rejected})
    return rows
