"""Every decoder of transformers trains on the log-probabilities that it samples with: its own."""

from itertools import count

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertLMHeadModel, PreTrainedModel

from lib.inference.engine.decoding import SampleRequest
from lib.inference.engine.load_check import engine_for, sampler_of
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling import load_check
from lib.modeling.loading import made_ready
from lib.modeling.packed.divergence import answer_divergence
from lib.modeling.packed.hidden import hidden_states
from lib.modeling.packed.logps import response_logps, response_token_logps
from lib.modeling.packed.own_forward import has_own_forward
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.modeling.saving import ModelError
from lib.training import plain
from lib.training.engine.optimizer import MasterWeights
from tests.inference.architectures import ARCHITECTURES, VOCABULARY, tiny_model

PLAIN_PATH = {  # all others run on packed rows and are sampled over slots
    "gpt_neo, windows", "gptj", "bloom, ALiBi",
    "mpt, ALiBi", "falcon, ALiBi", "falcon, parallel", "stablelm", "nemotron",
    "deepseek, latent attention", "mamba, recurrent", "mamba2, recurrent", "lfm2, convolutions",
    "recurrent gemma", "llama4, chunks", "qwen3 next, linear attention", "jamba, hybrid"}
PROMPTS = [tuple(range(2, 20)), (7, 8, 9)]
ANSWERS = [(30, 31, 32, 1), (40, 41, 1)]


def ready(name: str) -> PreTrainedModel:
    return made_ready(tiny_model(name), "cpu", "auto", "")


def row_of(prompt: tuple[int, ...], answers: list[tuple[int, ...]]) -> SharedPrompt:
    return SharedPrompt(prompt, tuple(answers))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_trains_on_the_log_probabilities_that_it_samples_with(name: str) -> None:
    model, own = ready(name), tiny_model(name)
    assert has_own_forward(model) == (name in PLAIN_PATH)
    assert (sampler_of(model) == "slots") == (name not in PLAIN_PATH)

    row = collate([row_of(prompt, ANSWERS) for prompt in PROMPTS])
    expected = torch.cat([  # one by one, because some rotary frequencies depend on padding
        plain.answer_logps(own, [([*prompt, *answer], [0] * len(prompt) + [1] * len(answer))])
        for prompt in PROMPTS for answer in ANSWERS])
    loss, own_loss = -response_logps(model, row).sum(), -expected.sum()
    torch.testing.assert_close(loss, own_loss, atol=1e-3, rtol=1e-5)
    loss.backward()
    own_loss.backward()
    assert_equal_gradients(model, own)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / parameter.grad.norm().clamp(min=1e-6)
        assert -response_logps(model, row).sum() < loss
    assert_samples_have_the_trained_log_probabilities(model)


def assert_equal_gradients(model: nn.Module, own: nn.Module) -> None:
    expected = dict(own.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = expected[name].grad
        if gradient is None:
            assert parameter.grad is None or not parameter.grad.any()
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-2,
                                       atol=1e-3 * max(1.0, gradient.abs().max().item()))


def assert_samples_have_the_trained_log_probabilities(model: PreTrainedModel) -> None:
    settings = SamplingSettings(samples=3, temperature=1.0, top_k=None, max_new_tokens=5, rows=4)
    requests = [SampleRequest(f"p{number}", number, prompt)
                for number, prompt in zip(count(), PROMPTS)]
    with torch.inference_mode(), sampling_mode(model, sampler_of(model) == "slots"):
        engine, samples = engine_for(model, settings, [1], requests), []
        while not engine.idle:
            samples += engine.step()
    assert len(samples) == 6
    for sample in samples:
        row = collate([row_of(sample.request.tokens, [tuple(sample.tokens)])])
        with torch.no_grad():
            assert response_logps(model, row).item() == pytest.approx(sample.logprob, abs=1e-3)


@pytest.mark.parametrize("name", ["gemma2, soft caps", "granite, multipliers", "bloom, ALiBi",
                                  "phi, parallel"])
def test_divergence_and_hidden_states_are_the_models_own(name: str) -> None:
    model, own = ready(name), tiny_model(name)
    row = collate([row_of(prompt, ANSWERS) for prompt in PROMPTS])
    with torch.no_grad():
        divergence = answer_divergence(model, model, row)
        torch.testing.assert_close(divergence.logp, response_logps(model, row))
        assert divergence.kl.abs().max() < 1e-5
        states = hidden_states(model, row, [1])[1]
        whole = own(torch.tensor([[*PROMPTS[0], *ANSWERS[0]]]), output_hidden_states=True)
    length = len(PROMPTS[0]) + len(ANSWERS[0])
    torch.testing.assert_close(states[:length], whole.hidden_states[1][0], atol=1e-4, rtol=1e-3)


def test_the_plain_path_trains_in_bfloat16_with_float32_masters() -> None:
    model = ready("bloom, ALiBi")
    weights = MasterWeights(model, torch.bfloat16)
    logps = response_token_logps(model, collate([row_of(PROMPTS[0], ANSWERS)]))
    (-logps.sum()).backward()
    assert all(master.grad is not None and master.grad.dtype == torch.float32
               for master in weights.masters.values())


def test_a_model_that_sees_later_tokens_is_refused_by_name() -> None:
    config = BertConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32,
                        num_hidden_layers=1, num_attention_heads=2, initializer_range=0.5)
    with pytest.raises(ModelError, match="BertLMHeadModel .*(later|cannot compute)"):
        made_ready(BertLMHeadModel(config), "cpu", "auto", "")


def test_a_model_without_a_backward_is_refused_by_name() -> None:
    class Frozen(type(tiny_model("bloom, ALiBi"))):
        """A BLOOM whose kernels were written for inference only."""

        forward = torch.no_grad()(type(tiny_model("bloom, ALiBi")).forward)
    model = tiny_model("bloom, ALiBi")
    model.__class__ = Frozen
    with pytest.raises(ModelError, match="Frozen cannot be trained: its backward"):
        made_ready(model, "cpu", "auto", "")


def test_a_head_that_we_do_not_know_is_found_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd(type(tiny_model("llama"))):
        """A Llama whose logits are scaled in a way that no configuration names."""

        def forward(self, *args: object, **more: object):  # noqa: ANN202
            out = super().forward(*args, **more)
            out.logits = out.logits / 3
            return out
    model = tiny_model("llama")
    model.__class__ = Odd
    assert has_own_forward(made_ready(model, "cpu", "auto", ""))
    said = capsys.readouterr().out
    assert "our head differ by" in said
    assert len(said.splitlines()) == 1
    assert_samples_have_the_trained_log_probabilities(model)


def test_a_verdict_is_kept_and_a_model_with_another_hash_is_tried_again(
        tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_check, "kept", lambda name: tmp_path)
    tried = []
    for identity in ("a", "a", "b"):
        assert load_check.verdict("packed", identity, lambda: tried.append(1) or "odd") == "odd"
    assert len(tried) == 2
