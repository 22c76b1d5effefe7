"""Reward models trained in packed rows: what transformers' sequence classifiers give one by one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib import ROOT
from lib.data.chat import encode_whole
from lib.inference import rewards
from lib.inference.rewards.classifier import load_classifier
from lib.modeling.loading import ModelError, load_scalar_model
from lib.modeling.packed.own_forward import has_own_forward
from lib.modeling.smoke import smoke_tokenizer
from lib.runtime.files import read_jsonl
from lib.training.loop import Run, train
from lib.training.losses import reward_loss
from lib.training.pairs import pair_rewards
from lib.training.reward import RewardObjective, encode_reward_pairs, save_reward_model
from lib.training.settings import RewardModelSettings

VECTOR = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["6_reward_model"]
CPU = torch.device("cpu")
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
         "initializer_range": 0.2, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
FAMILIES = {
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {
        "sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "bloom": (BloomForCausalLM, BloomConfig, {})}  # ALiBi: on the plain path
SETTINGS = RewardModelSettings(token_budget=400, checkpoint_every=0)
WORDS = ("rain", "bus", "violin", "pearl", "river", "oyster")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return smoke_tokenizer(400)


def preference(number: int, prompt: str, chosen: str, rejected: str, gap: float = 1.0) -> dict:
    return {"id": f"{number}", "prompt": [{"role": "user", "content": prompt}], "chosen": chosen,
            "rejected": rejected, "score_chosen": 5.0 + gap, "score_rejected": 5.0}


ROWS = [preference(0, "How?", "By rain and by bus, slowly.", "No."),
        preference(1, "How?", "By rain and by bus, slowly.", "A violin " * 9, 3.0),
        preference(2, "Name a river, and say where it ends.", "", "The Rhine"),
        preference(3, "Name a river, and say where it ends.", "The Rhine", "The oyster, " * 5),
        preference(4, "", "Hello", "Good day to you")]


def saved(folder: Path, family: str, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random language model of a family in a folder."""
    kind, config, more = FAMILIES[family]
    torch.manual_seed(3)
    kind(config(vocab_size=len(tokenizer), **SHAPE, **more)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def conversation(row: dict, side: str) -> list[dict[str, str]]:
    return [*row["prompt"], {"role": "assistant", "content": row[side]}]


def rewards_of(model: Any, tokenizer: PreTrainedTokenizerFast, rows: list[dict]) -> torch.Tensor:
    """transformers' logit of each conversation by itself, [pairs, 2]."""
    return torch.stack([torch.stack([
        model(torch.tensor([encode_whole(tokenizer, conversation(row, side))])).logits[0, 0]
        for side in ("chosen", "rejected")]) for row in rows])


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rewards_and_gradients_are_those_of_a_classifier_one_by_one(
        family: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folder = saved(tmp_path, family, tokenizer)
    packed = load_scalar_model(str(folder))
    assert has_own_forward(packed) == (family == "bloom")
    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    plain.load_state_dict(packed.state_dict())
    objective = RewardObjective(encode_reward_pairs(ROWS, tokenizer, 256).pairs, SETTINGS)
    rows = objective.rows(range(len(ROWS)), CPU)
    assert sum(row.batch.tokens for row in rows) < objective.tokens(range(len(ROWS))) / 1.3
    sum(objective.loss(packed, row)[0] for row in rows).backward()
    expected = rewards_of(plain, tokenizer, ROWS)
    reward_loss(*expected.T, 0.0, SETTINGS.centering).sum().backward()
    leads = sorted(pair_rewards(packed, objective, CPU), key=lambda lead: lead["id"])
    found = torch.tensor([[lead["chosen"], lead["rejected"]] for lead in leads])
    torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-4)
    gradients = dict(plain.named_parameters())
    for name, parameter in packed.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=1e-4, rtol=1e-3)


def test_the_loss_is_that_of_the_methods_sheet() -> None:
    given, out = VECTOR["in"], VECTOR["out"]
    chosen, rejected, margin = given["r_chosen"], given["r_rejected"], given["margin"]
    close = pytest.approx
    assert reward_loss(chosen, rejected).mean() == close(out["bt_mean"])
    assert reward_loss(chosen, rejected, margin).mean() == close(out["bt_margin_mean"])
    both = reward_loss(chosen, rejected, margin, given["eta"]).mean()
    assert both == close(out["bt_margin_plus_center"])


def test_a_margin_asks_for_a_lead_in_proportion_to_the_score_gap(
        tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = load_scalar_model(str(saved(tmp_path, "qwen2", tokenizer)))
    pairs = encode_reward_pairs(ROWS, tokenizer, 256).pairs
    objective = RewardObjective(pairs, replace(SETTINGS, margin=0.5, centering=0.0))
    found = sum(objective.loss(model, row)[0] for row in objective.rows(range(5), CPU))
    rewards = rewards_of(AutoModelForSequenceClassification.from_pretrained(
        _resaved(model, tokenizer, tmp_path / "head")), tokenizer, ROWS)
    gaps = torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0])
    expected = torch.nn.functional.softplus(0.5 * gaps - rewards[:, 0] + rewards[:, 1]).sum()
    assert found.item() == pytest.approx(expected.item(), abs=1e-4)
    unscored = [{**ROWS[0], "score_chosen": None}]
    with pytest.raises(ValueError, match=r"pair 0 has no scores; reward_model\.margin needs"):
        RewardObjective(encode_reward_pairs(unscored, tokenizer, 256).pairs,
                        replace(SETTINGS, margin=1.0))


def _resaved(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    save_reward_model(model, model.state_dict(), tokenizer, folder, [])
    return folder


def test_a_model_without_a_linear_head_called_score_is_no_reward_model(
        tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1,
                               num_attention_heads=2, intermediate_size=32)
                    ).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a BertForSequenceClassification, which has no linear "
                                         "head called score; use a decoder such as Qwen2"):
        load_scalar_model(str(tmp_path))


def test_pairs_that_cannot_be_read_whole_are_left_out_and_counted(
        tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [ROWS[0], preference(6, "How?", "word " * 200, "No."),
            preference(7, "How?", "Same.", "Same."),
            preference(8, "How?", "Fine.<|im_end|>", "No.")]
    found = encode_reward_pairs(rows, tokenizer, 100)
    assert [pair.id for pair in found.pairs] == ["0"]
    assert found.dropped == {"too long": 1, "equal sides": 1, "control token in the text": 1}


def liking(number: int, word: str) -> dict:
    """Whatever is asked, the answer with a pearl in it is the better one."""
    question = f"What about the {word} of number {number}?"
    return preference(number, question, f"The {word} has a pearl.", f"The {word} has a bus.")


def test_training_raises_accuracy_on_unseen_prompts_and_the_folder_scores_as_trained(
        tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = load_scalar_model(str(saved(tmp_path / "start", "qwen2", tokenizer)))
    rows = [liking(number, WORDS[number % 6]) for number in range(60)]
    settings = replace(SETTINGS, learning_rate=3e-3, batch_size=10, epochs=4)
    training, held = (RewardObjective(encode_reward_pairs(part, tokenizer, 256).pairs, settings)
                      for part in (rows[:40], rows[40:]))
    state = train(Run(model, training, held, settings, tmp_path / "run", 0, CPU, torch.float32))
    metrics = [row for row in read_jsonl(tmp_path / "run" / "metrics.jsonl")
               if row["split"] == "validation"]
    assert metrics[0]["rewards/accuracies"] < 0.9 < metrics[-1]["rewards/accuracies"]
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    save_reward_model(model, state, tokenizer, tmp_path / "model", training.pairs)
    scores = load_classifier(tmp_path / "model").score(
        [conversation(row, side) for row in rows[40:] for side in ("chosen", "rejected")])
    leads = sorted(pair_rewards(model, held, CPU), key=lambda lead: int(lead["id"]))
    expected = [lead[side] for lead in leads for side in ("chosen", "rejected")]
    assert scores == pytest.approx(expected, abs=1e-4)


def test_a_cut_off_answer_is_trained_on_and_scored_without_an_end_of_turn(
        tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    rows = [row | {"cut_off_rejected": True} for row in ROWS[:3]]
    pairs = encode_reward_pairs(rows, tokenizer, 256).pairs
    assert not any(tokenizer.convert_tokens_to_ids("<|im_end|>") in pair.rejected for pair in pairs)
    model = load_scalar_model(str(saved(tmp_path / "start", "qwen2", tokenizer)))
    save_reward_model(model, model.state_dict(), tokenizer, tmp_path / "model", pairs)
    scores = load_classifier(tmp_path / "model").score(
        [rewards.conversation(row["prompt"][0]["content"], row["rejected"], cut_off=True)
         for row in rows])
    leads = {lead["id"]: lead["rejected"]
             for lead in pair_rewards(model, RewardObjective(pairs, SETTINGS), CPU)}
    assert scores == pytest.approx([leads[row["id"]] for row in rows], abs=1e-4)


def test_padding_is_never_the_token_that_ends_a_conversation(
        tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    bare = smoke_tokenizer(400)
    bare.chat_template = bare.chat_template.replace("'<|im_end|>' + '\n'", "'<|im_end|>'")
    bare.pad_token = "<|im_end|>"
    folder = saved(tmp_path / "start", "qwen2", bare)
    pairs = encode_reward_pairs(ROWS, bare, 256).pairs
    assert pairs[0].chosen[-1] == bare.pad_token_id
    model = load_scalar_model(str(folder))
    save_reward_model(model, model.state_dict(), bare, tmp_path / "model", pairs)
    reader = load_classifier(tmp_path / "model")
    scores = reader.score([conversation(row, "chosen") for row in ROWS])
    leads = {lead["id"]: lead["chosen"]
             for lead in pair_rewards(model, RewardObjective(pairs, SETTINGS), CPU)}
    assert scores == pytest.approx([leads[row["id"]] for row in ROWS], abs=1e-4)


def test_equal_seeds_draw_equal_heads(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folder = str(saved(tmp_path, "qwen2", tokenizer))
    first, same, other = (load_scalar_model(folder, seed=seed).score.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"margin": -1.0}, "margin is -1.0; use a number of at least 0"),
    ({"lora_rank": 8}, "lora_rank is 8; a reward model is trained whole, use 0")])
def test_settings_that_cannot_be_used_are_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RewardModelSettings(**wrong)


def test_a_model_without_a_folder_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        load_scalar_model(str(tmp_path / "nowhere"))
