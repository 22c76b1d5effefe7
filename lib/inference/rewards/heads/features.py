"""Hidden states of a language model as features of answers.

A conversation's features are the mean, over the answer's tokens, of the hidden state after chosen
layers. The end-of-turn token counts, unless the answer was cut off and has none. Answers to one
prompt share its computation, rows are packed, and layers above the highest chosen one do not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from lib.data.chat import encode_prompt, encode_response
from lib.inference.rewards import Conversation, answer_of, ends_cut_off
from lib.inference.rewards.heads.feature_store import FeatureStore, conversation_key
from lib.modeling.context import context_of
from lib.modeling.loading import load_model, load_tokenizer, model_hash, resolve_model
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.progress import Progress
from lib.runtime.threads import leave_taken_cores

POOLING = "mean"
TOKENS_A_ROW = 2048
ANSWERS_A_PROMPT = 16  # that share one computation of the prompt
ANSWERS_A_PART = 256


@dataclass(frozen=True)
class Backbone:
    """The language model whose hidden states are read; digest: hash of its weights."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    digest: str

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return self.model.config.num_hidden_layers

    @property
    def context(self) -> float:
        """Longest conversation that it can read, in tokens; infinity where no limit is known."""
        return context_of(self.model.config) or inf


@dataclass(frozen=True)
class _Group:
    """Answers to one prompt that have no features yet, with their conversations' keys."""

    keys: tuple[str, ...]
    shared: SharedPrompt


def load_backbone(name: str, dtype: torch.dtype = torch.bfloat16,
                  device: torch.device | str = "cpu") -> Backbone:
    """Load `packaged`, `smoke`, a model folder or a hub id for reading features."""
    folder = resolve_model(str(name))
    return Backbone(load_model(folder, dtype, device), load_tokenizer(folder),
                    model_hash(folder)[:16])


def answer_features(backbone: Backbone, conversations: Sequence[Conversation],
                    layers: Sequence[int], cache_folder: Path | str | None = None) -> np.ndarray:
    """Features of each conversation's answer, float32 [conversations, layers * width].

    Layers stand side by side in their order. A conversation longer than the context has NaN
    features. Features in `cache_folder` are not computed again. Raises ValueError for a
    conversation that does not end with an answer.
    """
    for conversation in conversations:
        answer_of(conversation)
    stores = {layer: FeatureStore(cache_folder, backbone.digest, POOLING, layer)
              for layer in layers}
    keys = [conversation_key(conversation) for conversation in conversations]
    missing = {key: conversation for key, conversation in zip(keys, conversations, strict=True)
               if any(key not in store.features for store in stores.values())}
    if groups := _groups(backbone, missing):
        _fill(backbone, stores, groups)
    width = backbone.model.config.hidden_size
    unread = np.full(width, np.nan, dtype=np.float32)
    rows = [np.concatenate([stores[layer].features.get(key, unread) for layer in layers])
            for key in keys]
    return np.stack(rows) if rows else np.zeros((0, len(layers) * width), dtype=np.float32)


def _groups(backbone: Backbone, missing: dict[str, Conversation]) -> list[_Group]:
    """Encode, group by prompt, and leave out conversations longer than the context."""
    by_prompt: dict[str, list[str]] = {}
    for key, conversation in missing.items():
        by_prompt.setdefault(conversation_key(conversation[:-1]), []).append(key)
    groups = []
    for keys in by_prompt.values():
        before = missing[keys[0]][:-1]
        prompt = tuple(encode_prompt(backbone.tokenizer, before))
        answers = {key: tuple(encode_response(backbone.tokenizer, before, answer_of(missing[key]),
                                              ends_cut_off(missing[key]))) for key in keys}
        kept = [key for key in keys if len(prompt) + len(answers[key]) <= backbone.context]
        for begin in range(0, len(kept), ANSWERS_A_PROMPT):
            some = tuple(kept[begin:begin + ANSWERS_A_PROMPT])
            groups.append(_Group(some, SharedPrompt(prompt, tuple(answers[key] for key in some))))
    return groups


def _fill(backbone: Backbone, stores: dict[int, FeatureStore], groups: list[_Group]) -> None:
    """Compute the groups' features and store them every few hundred answers."""
    pending: dict[str, dict[int, np.ndarray]] = {}

    def store_pending() -> None:
        """Write the pending features of every layer and forget them."""
        for layer, store in stores.items():
            store.add({key: features[layer] for key, features in pending.items()})
        pending.clear()

    total, lengths = sum(len(group.keys) for group in groups), [len(each.shared) for each in groups]
    with Progress("reading answers", total, "answer", sum(lengths)) as progress:
        for row in pack(lengths, TOKENS_A_ROW):
            found = _row_features(backbone, [groups[index] for index in row], list(stores))
            pending |= found
            progress.advance(len(found), work=sum(lengths[index] for index in row))
            if len(pending) >= ANSWERS_A_PART:
                store_pending()
    store_pending()


def _row_features(backbone: Backbone, groups: list[_Group],
                  layers: list[int]) -> dict[str, dict[int, np.ndarray]]:
    """{key: {layer: mean hidden state}} of every answer of one packed row."""
    leave_taken_cores()
    batch = collate([group.shared for group in groups], backbone.model.device)
    states = hidden_states(backbone.model, batch, layers)
    return {key: {layer: states[layer][piece].float().mean(0).cpu().numpy() for layer in layers}
            for group, pieces in zip(groups, batch.answer_slices, strict=True)
            for key, piece in zip(group.keys, pieces, strict=True)}
