"""Reward classifiers as others saved them: padding, positions and ends that are not as ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lib.data.chat import encode_whole
from lib.inference.rewards.classifier import ClassifierRewardModel, load_classifier
from lib.modeling.saving import ModelError
from lib.modeling.smoke import CHATML, smoke_tokenizer

ENDS_IN_EOS = CHATML.replace("'<|im_end|>' + '\\n'", "'<|endoftext|>'")
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "num_labels": 1}
CONVERSATIONS = [[{"role": "user", "content": f"Question {n}"},
                  {"role": "assistant", "content": "An answer. " * n}] for n in range(1, 6)]


def saved(model: PreTrainedModel, folder: Path, template: str = ENDS_IN_EOS) -> Path:
    tokenizer = smoke_tokenizer(400)
    tokenizer.chat_template, tokenizer.pad_token = template, None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def expected(folder: Path) -> list[float]:
    """The model's scores of conversations by themselves, where no padding is needed."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [model(torch.tensor([encode_whole(tokenizer, each)])).logits.item()
                for each in CONVERSATIONS]


@pytest.mark.parametrize("pad", [None, -1, 0, 2, 5])
@pytest.mark.parametrize("template", [ENDS_IN_EOS, CHATML], ids=["eos", "chatml"])
def test_the_last_token_is_read_whatever_the_padding_is(
        pad: int | None, template: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(
        vocab_size=400, eos_token_id=0, initializer_range=0.3, **LLAMA))
    model.config.pad_token_id = pad
    folder = saved(model, tmp_path, template)
    assert load_classifier(folder).score(CONVERSATIONS) == pytest.approx(expected(folder),
                                                                         abs=1e-4)


@pytest.mark.parametrize(("model", "positions"), [
    (GPT2ForSequenceClassification(GPT2Config(
        vocab_size=400, n_embd=32, n_layer=1, n_head=2, n_positions=64, num_labels=1,
        bos_token_id=None, eos_token_id=0, pad_token_id=0)), 64),
    (RobertaForSequenceClassification(RobertaConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=66, num_labels=1, pad_token_id=1)), 64),
    (BertForSequenceClassification(BertConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, num_labels=1)), 64)],
    ids=["gpt2", "roberta", "bert"])
def test_a_conversation_beyond_the_positions_has_no_score_and_a_reason(
        model: PreTrainedModel, positions: int, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_classifier(saved(model, tmp_path))
    assert f"has {positions} positions" in capsys.readouterr().out
    long = [CONVERSATIONS[0][0], {"role": "assistant", "content": "word " * 90}]
    results = dict(loaded.stream([CONVERSATIONS[0], long]))
    assert results[0].score is not None
    assert "more than 64" in results[1].reason


def test_a_model_of_relative_positions_has_no_longest_conversation(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    loaded = load_classifier(saved(DebertaV2ForSequenceClassification(DebertaV2Config(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, relative_attention=True,
        position_biased_input=False, pos_att_type=["p2c", "c2p"], num_labels=1)), tmp_path))
    assert "positions" not in capsys.readouterr().out
    long = [CONVERSATIONS[0][0], {"role": "assistant", "content": "word " * 90}]
    assert None not in loaded.score([CONVERSATIONS[0], long])


class Blind(LlamaForSequenceClassification):
    """It forgets the attention mask and reads the mean of the row."""

    def forward(self, input_ids: torch.Tensor, **_: object) -> Any:
        out = super().forward(input_ids=input_ids)
        out.logits = self.score(self.model(input_ids=input_ids).last_hidden_state.mean(1))
        return out


class OneByOne(LlamaForSequenceClassification):
    """It takes a single row."""

    def forward(self, input_ids: torch.Tensor, **more: object) -> Any:
        row, = input_ids
        return super().forward(input_ids=row[None], **more)


class Broken(LlamaForSequenceClassification):
    """It takes nothing."""

    def forward(self, **_: object) -> None:
        raise RuntimeError("no such layer\nand a trace")


def of_kind(kind: type[PreTrainedModel]) -> ClassifierRewardModel:
    torch.manual_seed(0)
    model = kind(LlamaConfig(vocab_size=400, initializer_range=0.3, pad_token_id=0, **LLAMA))
    return ClassifierRewardModel("odd", "", model.eval(), smoke_tokenizer(400))


@pytest.mark.parametrize("kind", [Blind, OneByOne])
def test_a_model_that_padding_changes_or_breaks_reads_one_at_a_time(
        kind: type[PreTrainedModel], capsys: pytest.CaptureFixture[str]) -> None:
    reward = of_kind(kind).checked()
    assert reward.alone
    assert "reads one at a time" in capsys.readouterr().out
    assert reward.score(CONVERSATIONS) == [reward.score([each])[0] for each in CONVERSATIONS]


def test_a_model_that_cannot_read_a_conversation_is_refused_in_one_sentence() -> None:
    sentence = (r"^odd cannot score a short conversation \(RuntimeError: no such layer\); use a "
                r"sequence classifier with one output\Z")
    with pytest.raises(ModelError, match=sentence):
        of_kind(Broken).checked()
