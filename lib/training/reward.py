"""Reward models trained whole: a language model with a scalar head, on pairs in packed rows.

The reward of an answer is the head's output at the last token of the conversation, as in
transformers' sequence classifiers, so that `lib.inference.rewards.classifier` and other tools read
the trained model. Tokens with which all answers to a prompt begin are computed once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import encode_prompt, encode_whole
from lib.modeling.packed.logps import packed_hidden
from lib.modeling.packed.packing import PackedBatch
from lib.runtime.files import sha256_of_value
from lib.training import losses
from lib.training.objective import Metrics
from lib.training.pairs import (
    Pair,
    PairObjective,
    PairRow,
    pairs_hash,
    reward_sums,
    score_gap,
    score_gaps,
)
from lib.training.settings import RewardModelSettings


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs of whole conversations as token ids, and the number of dropped rows by reason."""

    pairs: list[Pair]
    dropped: dict[str, int]


def encode_reward_pairs(rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase,
                        max_length: int) -> EncodedPairs:
    """Preference rows as pairs whose ids are those that the classifier reads when it scores.

    A pair's `prompt` is what both conversations begin with; all that the template writes after the
    answer belongs to the answer; a cut-off answer has none of it. Dropped and counted are rows with
    a side of more than `max_length` tokens (a cut answer is another answer), with a control token,
    or with two equal sides.
    """
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        sides: list[Any] = [  # ids, or the reason that there are none
            encode_whole(tokenizer, [*row["prompt"], {"role": "assistant", "content": row[side]}],
                         bool(row.get(f"cut_off_{side}")))
            for side in ("chosen", "rejected")]
        if reason := _unusable(sides, max_length):
            dropped[reason] += 1
        else:
            shared = _shared(encode_prompt(tokenizer, row["prompt"]), *sides)
            chosen, rejected = (tuple(side[shared:]) for side in sides)
            pairs.append(Pair(row["id"], tuple(sides[0][:shared]), chosen, rejected,
                              score_gap(row)))
    return EncodedPairs(pairs, dict(dropped))


def _unusable(sides: Sequence[list[int] | str], max_length: int) -> str:
    if any(isinstance(side, str) for side in sides):
        return "control token in the text"
    if max(map(len, sides)) > max_length:
        return "too long"
    return "equal sides" if sides[0] == sides[1] else ""


def _shared(prompt: Sequence[int], *sides: Sequence[int]) -> int:
    """How many tokens all begin with, short of any side's last one."""
    most = min(len(prompt), *(len(side) - 1 for side in sides))
    return next((place for place in range(most)
                 if any(side[place] != prompt[place] for side in sides)), most)


def answer_rewards(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Reward of every answer of a row: the head at its last token, float32 [S]."""
    last = [piece.stop - 1 for slices in batch.answer_slices for piece in slices]
    hidden = packed_hidden(model, batch)[last].float()  # [S, width]
    head: Any = model.score
    return linear(hidden, head.weight.float())[:, 0]


class RewardObjective(PairObjective):
    """Pairs whose answers the scalar head scores; see `lib.training.objective.Objective`.

    Raises ValueError when `settings.margin` is on and a pair has no scores.
    """

    settings: RewardModelSettings

    def __init__(self, pairs: Sequence[Pair], settings: RewardModelSettings) -> None:
        super().__init__(pairs, settings)
        self.margins = torch.zeros(len(pairs))
        if settings.margin:
            self.margins = settings.margin * score_gaps(pairs, "reward_model.margin")

    def loss(self, model: PreTrainedModel, row: PairRow) -> tuple[Tensor, Metrics]:
        """Summed loss of the row's pairs, and sums of TRL's metrics."""
        chosen, rejected = self.rewards(model, row).values()
        margins = self.margins[list(row.examples)].to(chosen.device)
        per_pair = losses.reward_loss(chosen, rejected, margins, self.settings.centering)
        return per_pair.sum(), reward_sums(chosen, rejected)

    def rewards(self, model: PreTrainedModel, row: PairRow) -> dict[str, Tensor]:
        """Rewards of the row's "chosen" and "rejected" answers, float32 [pairs] each."""
        rewards = answer_rewards(model, row.batch)
        return {"chosen": rewards[row.chosen], "rejected": rewards[row.rejected]}

    def key(self) -> str:
        """Hash of the pairs and of their margins."""
        return sha256_of_value([pairs_hash(self.pairs), self.margins.tolist()])


def save_reward_model(model: PreTrainedModel, state: dict[str, Tensor],
                      tokenizer: PreTrainedTokenizerBase, folder: Path,
                      pairs: Sequence[Pair]) -> None:
    """Write a float32 sequence classifier with one output, and its tokenizer.

    transformers reads the reward at the last token that is not padding, so no conversation may end
    with the padding token. Raises ValueError where the tokenizer has no such token.
    """
    ends = {side[-1] for pair in pairs for side in (pair.chosen, pair.rejected)}
    spare = [token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id,
                                 tokenizer.unk_token_id, *tokenizer.all_special_ids)
             if token is not None and token not in ends]
    if not spare:
        raise ValueError("every special token ends a conversation, so none can be padding; add a "
                         "padding token to the tokenizer")
    model.config.pad_token_id = spare[0]
    model.config.reads_cut_off = True  # see `lib.inference.rewards.classifier`
    model.float().load_state_dict(state, strict=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
