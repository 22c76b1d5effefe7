"""Reward models that are transformers sequence classifiers with one output, by folder or hub id.

Skywork-Reward-V2 is the default judge of the paper profile. It reads conversations as its authors
do: the tokenizer's chat template on user and assistant turns, no added system prompt, one
beginning-of-text token, the logit at the last token that is not padding. Rows of similar length are
padded on the right. A conversation that is too long gets no score, because a cut answer is another
answer. An answer that was cut off at sampling is read without an end of turn by models that
`lib.training.reward` trained so; those of others know no conversation without its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lib.data.chat import encode_whole
from lib.inference.rewards import Conversation, answer_of, ends_cut_off
from lib.inference.rewards.score_results import ScoreResult, StreamingRewardModel
from lib.modeling.context import context_of
from lib.modeling.folders import folder_fault
from lib.modeling.loading import check_fit, model_hash
from lib.modeling.packed.logps import input_table
from lib.modeling.saving import ModelError, first_line
from lib.runtime.progress import Progress, say
from lib.runtime.threads import leave_taken_cores


@dataclass(frozen=True)
class ClassifierRewardModel(StreamingRewardModel):
    """Scores conversations with a classifier; build it with `load_classifier`.

    identity: name and hash of the weights; max_length: tokens of a whole conversation.
    """

    name: str
    identity: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int = 4096
    tokens_a_batch: int = 8192
    alone: bool = False  # one conversation a pass, for models that padding changes

    @property
    def reads_cut_off(self) -> bool:
        """Whether the model was trained on cut-off answers without an end of turn."""
        return getattr(self.model.config, "reads_cut_off", False)

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result), the shortest conversations first."""
        encoded: dict[int, list[int]] = {}
        for index, conversation in enumerate(conversations):
            answer_of(conversation)  # raises for one that ends with another turn
            ids = encode_whole(self.tokenizer, conversation,
                               self.reads_cut_off and ends_cut_off(conversation))
            if isinstance(ids, str):
                yield index, ScoreResult(None, ids)
            elif len(ids) > self.max_length:
                yield index, ScoreResult(None, f"{len(ids)} tokens, more than {self.max_length}")
            else:
                encoded[index] = ids
        with Progress(f"scoring with {self.name}", len(encoded), "answer",
                      sum(map(len, encoded.values()))) as progress:
            for batch in batches_by_length(encoded, 1 if self.alone else self.tokens_a_batch):
                leave_taken_cores()
                logits = self._logits([encoded[index] for index in batch])
                yield from zip(batch, map(_result, logits), strict=True)
                progress.advance(len(batch), work=sum(len(encoded[index]) for index in batch))

    @torch.no_grad()
    def _logits(self, rows: list[list[int]]) -> list[float]:
        """Logits of encoded conversations, padded on the right; [rows].

        transformers reads a row's last token that is not the padding token, so the padding token of
        a pass is one that ends none of its rows. A single row needs none.
        """
        width, config = max(map(len, rows)), self.model.config
        given = config.pad_token_id
        config.pad_token_id = pad = _padding_of(rows, given)
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self.model.device
        try:
            out = self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
        finally:
            config.pad_token_id = given
        return out.logits[:, 0].float().tolist()

    def checked(self) -> "ClassifierRewardModel":
        """This model, or the same with a conversation a pass where padding changes its scores.

        A few short rows are scored together and one by one, in the model's precision; raises
        ModelError where none can be.
        """
        special, generator = set(self.tokenizer.all_special_ids), torch.Generator().manual_seed(0)
        vocabulary = len(input_table(self.model))
        plain = [token for token in torch.randint(vocabulary, (99,), generator=generator).tolist()
                 if token not in special] or [0]
        end = self.tokenizer.eos_token_id
        rows = [(plain * 4)[:length] + ([end] if end is not None and end < vocabulary else [])
                for length in (9, 4, 6)]
        rows = [row[:self.max_length] for row in rows]
        try:
            single = torch.tensor([self._logits([row])[0] for row in rows])
        except Exception as error:  # noqa: BLE001 - anything that a model may raise
            raise ModelError(f"{self.name} cannot score a short conversation "
                             f"({type(error).__name__}: {first_line(error)}); use a sequence "
                             "classifier with one output") from error
        precise = self.model.dtype == torch.float32
        try:
            together = torch.tensor(self._logits(rows))
            apart = ((together - single).abs() / single.abs().clamp(min=1)).max().item()
        except Exception:  # noqa: BLE001
            apart = float("inf")
        if apart <= (1e-4 if precise else 0.1):
            return self
        say(f"{self.name} scores a conversation otherwise beside padding (by {apart:.2g}), so it "
            "reads one at a time, which is slower")
        return replace(self, alone=True)


def _padding_of(rows: list[list[int]], given: int | None) -> int:
    """The given padding token, or the first token that ends no row where that one does."""
    ends = {row[-1] for row in rows}
    if given is not None and given >= 0 and given not in ends:
        return given
    return next(token for token in range(len(ends) + 1) if token not in ends)


def load_classifier(source: str | Path, name: str = "classifier", revision: str | None = None,
                    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
                    max_length: int = 4096) -> ClassifierRewardModel:
    """Load a reward model with one output from a folder or a hub id (safetensors, no remote code).

    Raises ModelError when it cannot be loaded, has no trained scalar head, or no chat template.
    """
    if fault := folder_fault(str(source)):
        raise ModelError(f"the reward model: {fault}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            source, revision=revision, num_labels=1, dtype=dtype, use_safetensors=True,
            trust_remote_code=False, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot load the reward model {source}: {first_line(error)}; give a "
                         "folder or hub id of a sequence classifier with one output") from error
    if untrained := sorted(loaded["missing_keys"]):
        raise ModelError(f"{source} has no trained {', '.join(untrained)}, so that its scores "
                         "would be random; give a reward model, not a language model")
    if not tokenizer.chat_template:
        raise ModelError(f"{source} has no chat template; add chat_template.jinja to its folder")
    check_fit(tokenizer, model.config)
    model.config.pad_token_id = _padding_id(model, tokenizer)
    if (context := _context(model)) and context < max_length:
        say(f"{name} has {context} positions; longer conversations get no score")
        max_length = context
    identity = f"classifier:{model_hash(source)[:16]}:{revision or ''}:{dtype}"
    return ClassifierRewardModel(name, identity, model.to(device).eval(), tokenizer,
                                 max_length).checked()


def batches_by_length(encoded: dict[int, list[int]], tokens: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, of at most `tokens` with padding or one row."""
    batch: list[int] = []
    for index in sorted(encoded, key=lambda each: len(encoded[each])):
        if batch and len(encoded[index]) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _padding_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of padding: a token that the model embeds."""
    vocabulary = len(input_table(model))
    for candidate in (model.config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id):
        if candidate is not None and 0 <= candidate < vocabulary:
            return candidate
    return 0


def _context(model: PreTrainedModel) -> int | None:
    """Tokens of the longest conversation; None where no limit is known.

    RoBERTa counts positions from behind its padding; DeBERTa v3 has no table of them.
    """
    if not getattr(model.config, "position_biased_input", True):
        return None
    table: Any = next((module for name, module in model.named_modules()
                       if name.endswith("position_embeddings") and hasattr(module, "weight")), None)
    if table is not None and (padding := getattr(table, "padding_idx", None)) is not None:
        return table.weight.shape[0] - padding - 1
    return context_of(model.config)


def _result(logit: float) -> ScoreResult:
    if logit - logit != 0:  # NaN or infinite
        return ScoreResult(None, f"the model's output is {logit}")
    return ScoreResult(logit)
