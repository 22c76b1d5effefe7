"""Layers that keep less: the forward's bits and the gradients are those of transformers."""

import copy

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib.modeling.packed.lean_activations import recompute_norms_and_mlps

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2}
MADE = {"llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, head_dim=16))}


def both(family: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    torch.manual_seed(0)
    plain = MADE[family]()
    for parameter in plain.parameters():  # norm weights start at 1, which hides mistakes
        torch.nn.init.normal_(parameter, 0.3, 0.3)
    lean = copy.deepcopy(plain)
    recompute_norms_and_mlps(lean)
    return plain, lean


def kept_bytes(model: PreTrainedModel, tokens: torch.Tensor) -> int:
    """Memory that autograd holds for the backward, each tensor once."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = model(tokens).logits.sum()  # alive, so that no address comes twice
    assert kept.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("family", list(MADE))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_forward_has_the_same_bits(family: str, dtype: torch.dtype) -> None:
    plain, lean = (model.to(dtype) for model in both(family))
    tokens = torch.randint(0, 64, (2, 9))
    assert torch.equal(plain(tokens).logits, lean(tokens).logits)


@pytest.mark.parametrize("family", list(MADE))
def test_every_gradient_is_that_of_transformers(family: str) -> None:
    plain, lean = (model.double() for model in both(family))
    tokens = torch.randint(0, 64, (2, 9))
    for model in (plain, lean):
        model(tokens, labels=tokens).loss.backward()
    for (name, one), other in zip(plain.named_parameters(), lean.parameters(), strict=True):
        assert other.grad == pytest.approx(one.grad, rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_autograd_keeps_a_fifth_less_or_better(family: str) -> None:
    plain, lean = (model.to(torch.bfloat16) for model in both(family))
    tokens = torch.randint(0, 64, (4, 64))
    assert kept_bytes(lean, tokens) < 0.8 * kept_bytes(plain, tokens)


def test_a_copy_of_the_model_reads_its_own_weights() -> None:
    _, lean = both("llama")
    twin = copy.deepcopy(lean)
    torch.nn.init.zeros_(twin.model.norm.weight)
    tokens = torch.randint(0, 64, (1, 5))
    assert not twin(tokens).logits.any()
    assert lean(tokens).logits.any()
