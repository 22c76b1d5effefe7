"""Embeddings of prompts: the mean hidden state that a language model has of their tokens."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lib.inference.prompts import Prompt, encode_within
from lib.modeling.context import context_of
from lib.modeling.packed.hidden import hidden_states, layers_of
from lib.modeling.packed.packing import SharedPrompt, collate, pack
from lib.runtime.progress import track

DEPTH = 19 / 30  # of the layer that is read, as a share of all layers: the reward heads' choice
TOKENS_A_ROW = 2048
LONGEST = 1024  # tokens of a prompt that are read


def prompt_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                      prompts: Sequence[Prompt]) -> np.ndarray:
    """Mean hidden state of each prompt's tokens, chat format included, float32 [prompts, width]."""
    limit = min(LONGEST, context_of(model.config) or LONGEST)
    encoded = [SharedPrompt((), (tuple(encode_within(tokenizer, prompt, limit)[0]),))
               for prompt in prompts]
    layer = max(1, round(DEPTH * len(layers_of(model))))
    found: dict[int, np.ndarray] = {}
    rows = pack(list(map(len, encoded)), TOKENS_A_ROW)
    for row in track(rows, "reading prompts", len(rows), "row"):
        batch = collate([encoded[i] for i in row], model.device)
        states = hidden_states(model, batch, [layer])[layer]
        for place, [tokens] in zip(row, batch.answer_slices, strict=True):
            found[place] = states[tokens].float().mean(0).cpu().numpy()
    return np.stack([found[place] for place in range(len(prompts))])
