"""LoRA: what it trains, what it is refused, and that DPO's reference is the merged SFT model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from lib.data.parquet import read_parquet, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences, load_sft
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.lora import check_lora, merge_lora, targeted_layers, with_lora
from lib.modeling.packed.logps import response_logps
from lib.modeling.saving import ModelError
from lib.modeling.smoke import smoke_model
from lib.runtime.files import read_jsonl
from lib.training.dpo import train_dpo
from lib.training.job import Job
from lib.training.pairs import encode_pairs, pair_rows
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import train_sft

ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
ALL = ATTENTION | {"gate_proj", "up_proj", "down_proj"}


def last_parts(targets: tuple[str, ...] | None) -> set[str]:
    return {name.rpartition(".")[2] for name in targeted_layers(load_model("smoke"), 4, targets)}


def test_wrapping_a_model_in_lora_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    with_lora(load_model("smoke"), rank=4, alpha=8)
    assert [str(warning.message) for warning in recwarn] == []


def test_lora_trains_little_starts_as_the_model_and_merges_into_it() -> None:
    torch.manual_seed(0)
    plain, tokens = load_model("smoke"), torch.tensor([[5, 6, 7, 8]])
    plain.set_attn_implementation("eager")
    before = plain(tokens).logits
    wrapped = with_lora(plain, rank=4, alpha=8)
    torch.testing.assert_close(wrapped(tokens).logits, before)
    trainable = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    assert 0 < trainable < 0.2 * sum(p.numel() for p in wrapped.parameters())
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    changed = wrapped(tokens).logits
    torch.testing.assert_close(merge_lora(wrapped)(tokens).logits, changed, atol=1e-4, rtol=1e-4)


def test_targets_are_all_linear_layers_attentions_or_those_that_are_named() -> None:
    assert last_parts(None) == ALL  # and not the head, which is the embedding too
    assert last_parts(("attention",)) == ATTENTION
    assert last_parts(("attention", "up_proj", "q_proj")) == ATTENTION | {"up_proj"}
    assert last_parts(("q_proj", "v_proj")) == {"q_proj", "v_proj"}
    model = load_model("smoke")
    assert targeted_layers(model, 4, ("layers.1.mlp.up_proj",)) == ["model.layers.1.mlp.up_proj"]
    counts = [sum(p.numel() for p in with_lora(load_model("smoke"), 4, 8, targets).parameters()
                  if p.requires_grad) for targets in (None, ("attention",), ("q_proj",))]
    assert counts == sorted(counts, reverse=True)
    assert counts[2] == 2 * 4 * (64 + 64)  # two layers, rank 4, in plus out


def test_layers_of_another_family_are_found_by_their_own_names() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2))
    assert targeted_layers(model, 4) == [
        f"transformer.h.0.{name}" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc",
                                               "mlp.c_proj")]
    assert targeted_layers(model, 4, ("attention",)) == ["transformer.h.0.attn.c_attn",
                                                      "transformer.h.0.attn.c_proj"]


@pytest.mark.parametrize(("rank", "targets", "reason"), [
    (65, None, "lora_rank is 65 and the model is 64 wide, .* use at most 64, or 0"),
    (4, ("q_proj", "c_attn"), "lora_targets has 'c_attn', which no linear layer .* it has q_proj"),
    (4, ("lm_head",), "lora_targets has 'lm_head'"), (4, ("proj",), "lora_targets has 'proj'"),
    (4, ("embed_tokens",), "lora_targets has 'embed_tokens'"), (4, ("",), "lora_targets has ''")])
def test_lora_that_a_model_cannot_have_is_refused(rank: int, targets: tuple[str, ...] | None,
                                                  reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        with_lora(load_model("smoke"), rank, 8, targets)
    with pytest.raises(ModelError, match=reason):  # and without its weights
        check_lora(str(smoke_model()), None, rank, targets)
    check_lora(str(smoke_model()), None, 64, ("q_proj",))


def test_a_source_that_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be had as a language model"):
        check_lora(str(tmp_path), None, 4, None)


@pytest.fixture
def jobs(tmp_path: Path) -> tuple[Job, Job]:
    """SFT and then DPO with LoRA, on a few rows of the sample."""
    data = DataSettings(sft_rows=6, preference_rows=6)
    write_parquet(load_sft(data, 0), tmp_path / "sft.parquet")
    write_parquet(load_preferences(data, 0), tmp_path / "pairs.parquet")
    shared = {"batch_size": 3, "token_budget": 1024, "checkpoint_every": 0, "lora_rank": 4,
              "lora_targets": "attention", "learning_rate": 1e-2}
    sft = Job("sft", "smoke", str(tmp_path / "sft.parquet"), str(tmp_path / "sft"),
              settings=SFTSettings(**shared), max_length=256, device="cpu", precision="float32")
    return sft, replace(sft, method="dpo", model=str(tmp_path / "sft" / "model"),
                        rows=str(tmp_path / "pairs.parquet"), folder=str(tmp_path / "dpo"),
                        settings=DPOSettings(**shared))


def test_dpos_reference_is_the_policy_with_adapters_off_on_the_merged_sft_model(
        jobs: tuple[Job, Job], tmp_path: Path) -> None:
    sft, dpo = jobs
    train_sft(sft)
    base, merged = load_model("smoke"), load_model(dpo.model)
    pairs = encode_pairs(read_parquet(dpo.rows), load_tokenizer(dpo.model), dpo.max_length)

    def logps(model: torch.nn.Module) -> torch.Tensor:
        rows = pair_rows(pairs, list(range(len(pairs))), 1024, torch.device("cpu"))
        with torch.no_grad():
            return torch.cat([response_logps(model, row.batch) for row in rows])
    policy = with_lora(load_model(dpo.model), 4, 32, ("attention",))
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert not torch.allclose(logps(policy), logps(merged), atol=0.1)
    with policy.disable_adapter():
        assert torch.equal(logps(policy), logps(merged))
    assert not torch.allclose(logps(base), logps(merged), atol=0.1)  # SFT moved the weights

    train_dpo(dpo)
    cached = reference_logps(merged, pairs, [], 1024, "", tmp_path / "again.jsonl",
                             torch.device("cpu"))
    [first, *_] = read_jsonl(tmp_path / "dpo" / "metrics.jsonl")
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)
    written = {name: value for row in read_jsonl(tmp_path / "dpo" / "reference_training.jsonl")
               for name, value in row.get("logps", {}).items()}
    assert torch.tensor([written[pair.id] for pair in pairs]) == pytest.approx(cached, abs=1e-3)


def test_only_the_targets_differ_from_the_start_after_training(jobs: tuple[Job, Job]) -> None:
    sft, dpo = jobs
    train_sft(sft)
    before, after = load_model("smoke").state_dict(), load_model(dpo.model).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[-2] for name in moved} == ATTENTION
