"""Sampling on a GPU: replayed passes change no answer, and draws are those of the CPU."""

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from lib.inference.engine.cuda_graph import RecordedPass
from lib.inference.engine.distributions import draw
from lib.inference.sampling import SamplingSettings, sample
from tests.inference.tiny_models import FAMILIES, PROMPTS, texts, tiny

pytestmark = [pytest.mark.cuda,
              pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
SETTINGS = SamplingSettings(samples=5, max_new_tokens=40, rows=8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_replayed_passes_give_the_answers_of_passes_that_run(
        family: str, dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase,
        monkeypatch: pytest.MonkeyPatch) -> None:
    model, recordings = tiny(family, tokenizer).to("cuda", dtype), []
    record = RecordedPass._record

    def counted(self: RecordedPass) -> None:
        record(self)
        recordings.append(self.recordable)
    monkeypatch.setattr(RecordedPass, "_record", counted)
    replayed = sample(model, tokenizer, PROMPTS, SETTINGS)
    assert recordings
    assert all(recordings)
    monkeypatch.setattr(RecordedPass, "__call__", lambda self, place: self.run())
    assert sample(model, tokenizer, PROMPTS, SETTINGS) == replayed


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_the_cpu(family: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny(family, tokenizer)
    on_cpu = texts(sample(model, tokenizer, PROMPTS, SETTINGS))
    assert texts(sample(model.cuda(), tokenizer, PROMPTS, SETTINGS)) == on_cpu


def test_answers_do_not_depend_on_the_order_of_prompts(tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("qwen2", tokenizer).to("cuda", torch.bfloat16)
    forwards = texts(sample(model, tokenizer, PROMPTS, SETTINGS))
    assert texts(sample(model, tokenizer, PROMPTS[::-1], SETTINGS)) == forwards


@pytest.mark.parametrize(("top_k", "top_p"), [(None, 1.0), (50, 1.0), (None, 0.9), (20, 0.8)])
def test_equal_logits_and_numbers_draw_the_same_tokens(top_k: int | None, top_p: float) -> None:
    torch.manual_seed(0)
    logits, uniforms = torch.randn(64, 20_000), torch.rand(64, dtype=torch.float64)
    tokens, logps = draw(logits, uniforms, 0.7, top_k, top_p)
    drawn, their_logps = draw(logits.cuda(), uniforms.cuda(), 0.7, top_k, top_p)
    assert (drawn.cpu() == tokens).float().mean() > 0.98  # sums differ in their last bits
    same = drawn.cpu() == tokens
    torch.testing.assert_close(their_logps.cpu()[same], logps[same], atol=1e-4, rtol=0)


def test_a_pass_that_waits_for_the_gpu_runs_unrecorded_and_the_gpu_goes_on(
        capsys: pytest.CaptureFixture[str]) -> None:
    numbers = torch.arange(4.0, device="cuda")
    recorded = RecordedPass(lambda: numbers * numbers.sum().item())
    assert recorded(1).tolist() == [0.0, 6.0, 12.0, 18.0]
    assert "without CUDA graphs" in capsys.readouterr().out
    again = RecordedPass(lambda: numbers * 2)
    assert again(1).tolist() == [0.0, 2.0, 4.0, 6.0]
