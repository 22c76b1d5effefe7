"""Fused layers compute what transformers' layers compute; here without the compiler."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib.modeling.lora import with_lora
from lib.modeling.packed import fused_layers
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.fused_layers import fuse_layers
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import SharedPrompt, collate

SMALL = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
ROW = collate([SharedPrompt((3, 4, 5, 6), ((7, 8, 9), (10, 11, 12, 13, 14))),
               SharedPrompt((), ((20, 21, 22, 23),))])


@pytest.fixture(params=["qwen2", "llama"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreTrainedModel:
    monkeypatch.setattr(fused_layers, "_compiled", lambda function: function)
    torch.manual_seed(0)
    made = (Qwen2ForCausalLM(Qwen2Config(**SMALL)) if request.param == "qwen2" else
            LlamaForCausalLM(LlamaConfig(**SMALL, attention_bias=True)))
    use_packed_attention(made, "segments")
    return made


def logps_and_gradients(model: PreTrainedModel) -> list[torch.Tensor]:
    model.zero_grad()
    logps = response_logps(model, ROW)
    logps.sum().backward()
    return [logps.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]


def test_fused_layers_give_the_log_probs_and_gradients_of_plain_ones(
        model: PreTrainedModel) -> None:
    expected = logps_and_gradients(model)
    fuse_layers(model)
    torch.testing.assert_close(logps_and_gradients(model), expected)


def test_a_pass_without_packed_rows_is_the_models_own(model: PreTrainedModel) -> None:
    model.set_attn_implementation("sdpa")
    tokens = torch.tensor([[5, 6, 7]])
    expected = model(tokens).logits
    fuse_layers(model)
    assert torch.equal(model(tokens).logits, expected)


def test_layers_with_adapters_run_as_they_are(model: PreTrainedModel) -> None:
    fuse_layers(model)
    adapted = with_lora(model, 2, 4)
    with torch.no_grad():
        adapted.get_base_model().model.layers[0].self_attn.q_proj.lora_B["default"].weight.fill_(1)
    fused = logps_and_gradients(adapted)
    for layer in adapted.get_base_model().model.layers:
        del layer.forward
    torch.testing.assert_close(fused, logps_and_gradients(adapted), rtol=0, atol=0)
