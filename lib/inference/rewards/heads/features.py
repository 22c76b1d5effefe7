"""Hidden states of a language model as features of answers.

A conversation's features are the mean, over the answer's tokens, of the hidden state after chosen
layers. The end-of-turn token counts, unless the answer was cut off and has none. Answers to one
prompt share its computation, others that of the tokens with which their prompts begin alike; rows
are packed, and layers above the highest chosen one do not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from os.path import commonprefix
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import encode_prompt, encode_response
from lib.inference.rewards import Conversation, answer_of, ends_cut_off
from lib.inference.rewards.heads.feature_store import FeatureStore, conversation_key
from lib.inference.rewards.heads.lean_layers import lean_layers
from lib.modeling.context import context_of
from lib.modeling.loading import load_model, load_tokenizer, model_hash, resolve_model
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.progress import Progress
from lib.runtime.threads import leave_taken_cores

POOLING = "mean"
TOKENS_A_ROW = 2048
ANSWERS_A_PROMPT = 16  # that share one computation of the prompt, or of what prompts begin with
ANSWERS_A_PART = 256


@dataclass(frozen=True)
class Backbone:
    """The language model whose hidden states are read; digest: hash of its weights."""

    model: PreTrainedModel
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
    """Answers without features, with their conversations' keys, that begin with the same tokens.

    lengths: tokens of each answer; in `shared` its own part of the prompt may stand before them.
    """

    keys: tuple[str, ...]
    shared: SharedPrompt
    lengths: tuple[int, ...]


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
    groups: list[_Group] = []
    single: list[tuple[tuple[int, ...], tuple[int, ...], str]] = []  # prompt, answer, key
    for keys in by_prompt.values():
        before = missing[keys[0]][:-1]
        prompt = tuple(encode_prompt(backbone.tokenizer, before))
        answers = {key: tuple(encode_response(backbone.tokenizer, before, answer_of(missing[key]),
                                              ends_cut_off(missing[key]))) for key in keys}
        kept = [(prompt, answer, key) for key, answer in answers.items()
                if len(prompt) + len(answer) <= backbone.context]
        if len(kept) == 1:
            single += kept
        else:
            groups += _grouped(kept)
    return groups + _grouped(sorted(single))


def _grouped(read: Sequence[tuple[tuple[int, ...], tuple[int, ...], str]]) -> list[_Group]:
    """Groups of neighbours among (prompt, answer, key): they share how their prompts begin."""
    groups = []
    for begin in range(0, len(read), ANSWERS_A_PROMPT):
        prompts, answers, keys = zip(*read[begin:begin + ANSWERS_A_PROMPT], strict=True)
        prefix = commonprefix(prompts)
        own = tuple(prompt[len(prefix):] + answer
                    for prompt, answer in zip(prompts, answers, strict=True))
        groups.append(_Group(keys, SharedPrompt(prefix, own), tuple(map(len, answers))))
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
    with (lean_layers(backbone.model),
          Progress("reading answers", total, "answer", sum(lengths)) as progress):
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
    answers = {key: slice(piece.stop - length, piece.stop)
               for group, pieces in zip(groups, batch.answer_slices, strict=True)
               for key, length, piece in zip(group.keys, group.lengths, pieces, strict=True)}
    return {key: {layer: states[layer][answer].float().mean(0).cpu().numpy() for layer in layers}
            for key, answer in answers.items()}
