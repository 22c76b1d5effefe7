"""What the trial of a model at load looks at, and when its verdict is tried again."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lib.inference.engine.load_check import sampler_of
from lib.modeling import load_check, loading
from lib.modeling.load_check import exact_copy
from lib.modeling.packed.hidden import layers_of
from lib.modeling.saving import ModelError
from lib.modeling.smoke import smoke_tokenizer
from tests.inference.architectures import ARCHITECTURES, tiny_model


def deep_model(name: str, **settings: object) -> PreTrainedModel:
    kind, known = ARCHITECTURES[name]
    config = AutoConfig.for_model(kind, **{**known, "num_hidden_layers": 8, "layer_types": None,
                                           **settings})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.mark.parametrize(("name", "settings", "layers"), [
    ("llama", {}, 4), ("gemma3", {}, 6), ("smollm3", {"no_rope_layers": None}, 4),
    ("smollm3", {"no_rope_layers": [1] * 7 + [0]}, 8),
    ("deepseek, latent attention", {"first_k_dense_replace": 5}, 6)])
def test_a_trial_runs_the_first_layers_up_to_one_of_each_kind(
        name: str, settings: dict, layers: int) -> None:
    model = deep_model(name, **settings)
    assert len(layers_of(exact_copy(model))) == layers
    assert len(layers_of(model)) == 8


def test_a_trial_is_in_float32_and_leaves_the_model_as_it_is() -> None:
    model = tiny_model("llama").to(torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_check.packed_fault(model, "") == ""
    assert {parameter.dtype for parameter in exact_copy(model).parameters()} == {torch.float32}
    assert all(value.dtype == torch.bfloat16 and value.equal(before[name])
               for name, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("caller", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("name", ["llama", "bloom, ALiBi"])
def test_a_trial_may_run_inside_a_callers_inference_mode(name: str, caller: type) -> None:
    model = tiny_model(name).to(torch.bfloat16)
    with caller():
        assert bool(load_check.packed_fault(model, "")) == (name != "llama")
        sampler_of(model)


def saved(model: PreTrainedModel, folder: Path) -> Path:
    tokenizer = smoke_tokenizer(400)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_kept_verdict_ends_when_a_file_of_the_model_changes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(load_check, "kept", lambda name: tmp_path / "verdicts")
    monkeypatch.setattr(load_check, "_fault", lambda model: tried.append(1) or "")
    folder = saved(tiny_model("llama"), tmp_path / "model")
    for _ in range(3):
        loading.load_model(str(folder))
    assert len(tried) == 1
    saved(tiny_model("llama"), folder)
    loading.load_model(str(folder))
    assert len(tried) == 2


def test_a_model_that_lacks_weights_is_refused_and_not_drawn_at_random(tmp_path: Path) -> None:
    folder = saved(tiny_model("llama").model, tmp_path)
    with pytest.raises(ModelError, match="has no lm_head.weight, one of 1 weights"):
        loading.load_model(str(folder))


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 200])
def test_a_damaged_weight_file_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    folder = saved(tiny_model("llama"), tmp_path)
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelError, match="cannot load"):
        loading.load_model(str(folder))


def test_weights_of_another_shape_than_the_configuration_are_one_sentence(tmp_path: Path) -> None:
    folder = saved(tiny_model("llama"), tmp_path)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_size": 32', '"hidden_size": 64'))
    with pytest.raises(ModelError, match="cannot load"):
        loading.load_model(str(folder))
