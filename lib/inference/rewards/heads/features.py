"""Hidden states of a language model as features of answers.

A conversation's features are the mean, over the answer's tokens with its end-of-turn token, of the
hidden state after chosen layers. Answers to one prompt share one computation of the prompt, rows
are packed, and no layer above the highest one asked for is run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from lib.data.chat import encode_prompt, encode_response
from lib.inference.rewards import Conversation, answer_of
from lib.inference.rewards.heads.feature_store import FeatureStore, conversation_key
from lib.modeling.loading import load_model, load_tokenizer, model_hash, resolve_model
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.progress import Progress

POOLING = "mean"
TOKENS_A_ROW = 2048
ANSWERS_A_TREE = 16
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
    def context(self) -> int:
        """Longest conversation that it can read, in tokens."""
        return self.model.config.max_position_embeddings


@dataclass(frozen=True)
class _Group:
    """Encoded conversations with one prompt that have no features yet."""

    keys: tuple[str, ...]
    tree: SharedPrompt


def load_backbone(name: str, dtype: torch.dtype = torch.bfloat16,
                  device: torch.device | str = "cpu") -> Backbone:
    """Load `packaged`, `smoke`, a model folder or a hub id for reading features."""
    folder = resolve_model(str(name))
    return Backbone(load_model(folder, dtype, device), load_tokenizer(folder),
                    model_hash(folder)[:16])


def answer_features(backbone: Backbone, conversations: Sequence[Conversation],
                    layers: Sequence[int], cache_folder: Path | str | None = None) -> np.ndarray:
    """Features of each conversation's answer, float32 [conversations, layers * width].

    Several layers stand side by side in the order given. A conversation longer than the context
    has NaN features. Features that `cache_folder` has already are not computed again. Raises
    ValueError for a conversation that does not end with an answer.
    """
    for conversation in conversations:
        answer_of(conversation)
    stores = {layer: FeatureStore(cache_folder, backbone.digest, POOLING, layer)
              for layer in layers}
    keys = [conversation_key(conversation) for conversation in conversations]
    missing = {key: conversation for key, conversation in zip(keys, conversations, strict=True)
               if any(key not in store.features for store in stores.values())}
    _fill(backbone, stores, _groups(backbone, missing))
    width = len(layers) * backbone.model.config.hidden_size
    unread = np.full(width // len(layers), np.nan, dtype=np.float32)
    rows = [np.concatenate([stores[layer].features.get(key, unread) for layer in layers])
            for key in keys]
    return np.stack(rows) if rows else np.zeros((0, width), dtype=np.float32)


def _groups(backbone: Backbone, missing: dict[str, Conversation]) -> list[_Group]:
    """Encode, group by prompt, and leave out what is longer than the context."""
    by_prompt: dict[str, list[str]] = {}
    for key, conversation in missing.items():
        by_prompt.setdefault(conversation_key(conversation[:-1]), []).append(key)
    groups = []
    for keys in by_prompt.values():
        before = missing[keys[0]][:-1]
        prompt = encode_prompt(backbone.tokenizer, before)
        answers = {key: encode_response(backbone.tokenizer, before, answer_of(missing[key]))
                   for key in keys}
        kept = {key: tuple(answer) for key, answer in answers.items()
                if len(prompt) + len(answer) <= backbone.context}
        for begin in range(0, len(kept), ANSWERS_A_TREE):
            some = tuple(kept)[begin:begin + ANSWERS_A_TREE]
            tree = SharedPrompt(tuple(prompt), tuple(kept[key] for key in some))
            groups.append(_Group(some, tree))
    return groups


def _fill(backbone: Backbone, stores: dict[int, FeatureStore], groups: list[_Group]) -> None:
    """Compute the groups' features and store them every few hundred answers."""
    total = sum(len(group.keys) for group in groups)
    if not total:
        return
    pending: list[tuple[str, dict[int, np.ndarray]]] = []
    with Progress("reading answers", total, "answer") as progress:
        for row in pack([len(group.tree) for group in groups], TOKENS_A_ROW):
            found = list(_pooled(backbone, [groups[index] for index in row], list(stores)))
            pending += found
            progress.advance(len(found))
            if len(pending) >= ANSWERS_A_PART:
                _store(stores, pending)
                pending = []
    _store(stores, pending)


def _pooled(backbone: Backbone, groups: list[_Group],
            layers: list[int]) -> Iterator[tuple[str, dict[int, np.ndarray]]]:
    """Yield (key, {layer: mean hidden state}) for every answer of one packed row."""
    batch = collate([group.tree for group in groups], backbone.model.device)
    states = hidden_states(backbone.model, batch, layers)
    for group, pieces in zip(groups, batch.answer_slices, strict=True):
        for key, piece in zip(group.keys, pieces, strict=True):
            yield key, {layer: states[layer][piece].float().mean(0).cpu().numpy()
                        for layer in layers}


def _store(stores: dict[int, FeatureStore],
           found: list[tuple[str, dict[int, np.ndarray]]]) -> None:
    for layer, store in stores.items():
        store.add({key: features[layer] for key, features in found})
