"""OpenVINO as a sampling engine: the distribution, draws and log-probabilities of our own."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from scipy.stats import chisquare
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerBase

from lib.data.chat import encode_prompt
from lib.inference.engine import openvino_model
from lib.inference.engine.load_check import sampler_of
from lib.inference.engine.openvino_engine import PROMPTS as PROMPTS_TOGETHER
from lib.inference.engine.openvino_model import installed, openvino_fault
from lib.inference.prompts import messages_of
from lib.inference.sampling import SamplingSettings, sample
from lib.modeling.saving import ModelError
from lib.runtime.files import Row
from tests.inference.tiny_models import FAMILIES, PROMPTS, SHAPE, tiny

OPENVINO = pytest.mark.skipif(not installed(), reason="openvino is not installed")
SETTINGS = SamplingSettings(samples=3, temperature=0.8, top_k=6, top_p=0.95, max_new_tokens=40,
                            engine="openvino")  # prompts and answers cross pages of 32 tokens
CPU = torch.device("cpu")


def answers(rows: list[Row]) -> list[Row]:
    return [answer for row in rows for answer in row["candidates"]]


@OPENVINO
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_and_log_probabilities_are_those_of_our_own_engine(
        family: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny(family, tokenizer)
    before = model.config._attn_implementation
    ours = answers(sample(model, tokenizer, PROMPTS, replace(SETTINGS, engine="own")))
    theirs = answers(sample(model, tokenizer, PROMPTS, SETTINGS))
    for key in ("token_ids", "finish"):
        assert [answer[key] for answer in theirs] == [answer[key] for answer in ours]
    for key in ("logprob", "sampling_logprob"):
        assert [answer[key] for answer in theirs] == pytest.approx(
            [answer[key] for answer in ours], abs=2e-3)
    assert model.config._attn_implementation == before


@OPENVINO
def test_equal_seeds_give_equal_answers_in_any_order_and_for_any_number_of_rows(
        tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("llama", tokenizer)
    settings = replace(SETTINGS, repetition_penalty=1.2)
    rows = sample(model, tokenizer, PROMPTS, settings)
    turned = sample(model, tokenizer, PROMPTS[::-1], replace(settings, rows=2))[::-1]
    for ours, other in zip(answers(rows), answers(turned), strict=True):
        assert other["token_ids"] == ours["token_ids"]
        assert other["logprob"] == pytest.approx(ours["logprob"], abs=1e-3)
    assert answers(sample(model, tokenizer, PROMPTS, replace(settings, seed=1))) != answers(rows)


@OPENVINO
def test_many_prompts_that_wait_for_few_slots_give_the_answers_of_our_own_engine(
        tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("llama", tokenizer)
    many = [{**PROMPTS[number % len(PROMPTS)], "id": str(number)}
            for number in range(3 * PROMPTS_TOGETHER + 3)]  # pages of prompts are used again
    settings, stops = replace(SETTINGS, rows=5, max_new_tokens=9), list(range(0, 400, 7))
    ours = answers(sample(model, tokenizer, many, replace(settings, engine="own"), stops=stops))
    theirs = answers(sample(model, tokenizer, many, settings, stops=stops))
    assert len({answer["tokens"] for answer in theirs}) > 3  # slots move at different times
    assert [answer["token_ids"] for answer in theirs] == [answer["token_ids"] for answer in ours]


@OPENVINO
def test_sampled_frequencies_pass_a_chi_square_test_against_the_exact_distribution(
        tokenizer: PreTrainedTokenizerBase) -> None:
    model, draws = tiny("qwen2", tokenizer), 3000
    settings = replace(SETTINGS, samples=draws, top_p=1.0, max_new_tokens=1, rows=256)
    tokens = torch.tensor([encode_prompt(tokenizer, messages_of(PROMPTS[0]))])
    with torch.no_grad():
        best = model(tokens).logits[0, -1].double().topk(settings.top_k)
    expected = (best.values / settings.temperature).softmax(-1) * draws
    drawn = [answer["token_ids"][0]
             for answer in answers(sample(model, tokenizer, PROMPTS[:1], settings, stops=[]))]
    seen = torch.tensor([drawn.count(token) for token in best.indices.tolist()])
    assert seen.sum() == draws, "tokens outside the top k"
    common = expected >= 5
    assert chisquare(seen[common], expected[common] / expected[common].sum()
                     * seen[common].sum()).pvalue > 0.001


@OPENVINO
def test_a_model_whose_attention_openvino_lacks_is_refused_by_name(
        tokenizer: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(vocab_size=len(tokenizer), head_dim=8,
                                           attn_logit_softcapping=2.0, **SHAPE)).eval()
    with pytest.raises(ModelError, match="Gemma2ForCausalLM .* set sampling.engine=own"):
        sampler_of(model, "openvino")


@pytest.mark.parametrize(("there", "said"), [("", "not installed"), ("2031.1.0", "2031.1.0")])
def test_without_the_package_a_sentence_says_how_to_install_it(
        there: str, said: str, tokenizer: PreTrainedTokenizerBase,
        monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if not there:
            raise PackageNotFoundError(name)
        return there
    monkeypatch.setattr(openvino_model, "version", version)
    with pytest.raises(ModelError, match=f"is {said}; pip install 'openvino=="):
        sample(tiny("llama", tokenizer), tokenizer, PROMPTS, SETTINGS)


@pytest.mark.parametrize(("device", "dtype", "remedy"), [
    (torch.device("cuda"), torch.bfloat16, "sampling.engine=own or device=cpu"),
    (CPU, torch.float16, "precision=float32 or bfloat16")])
def test_what_openvino_cannot_sample_is_refused_with_a_remedy(
        device: torch.device, dtype: torch.dtype, remedy: str,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "installed", lambda: openvino_model.KNOWN)
    assert remedy in openvino_fault(device, dtype)
    assert not openvino_fault(CPU, torch.float32)
