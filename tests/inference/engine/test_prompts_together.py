"""Prompts that pass through the model together, as on a GPU, give what they give alone."""

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from lib.inference.engine import decoding
from lib.inference.engine.decoding import SampleRequest, prompts_together
from lib.inference.sampling import SamplingSettings, sample
from tests.inference.tiny_models import FAMILIES, PROMPTS, texts, tiny

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def requests(*lengths: int) -> list[SampleRequest]:
    return [SampleRequest(str(n), n, (1,) * length) for n, length in enumerate(lengths)]


def test_on_a_gpu_a_pass_has_a_fixed_shape_that_the_prompts_own_length_decides() -> None:
    passes = [(len(together), rows, tokens) for together, rows, tokens in
              prompts_together(requests(200, 193, *[64] * 9, 1), GPU)]
    assert passes == [(2, 8, 256), (8, 8, 64), (2, 8, 64)]
    assert [(len(together), rows, tokens) for together, rows, tokens in
            prompts_together(requests(200, 1), CPU)] == [(1, 1, 200), (1, 1, 1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_passes_give_the_answers_of_single_prompts(
        family: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = tiny(family, tokenizer), SamplingSettings(samples=3, max_new_tokens=10)
    alone = texts(sample(model, tokenizer, PROMPTS, settings))
    monkeypatch.setattr(decoding, "prompts_together",
                        lambda requests, _: prompts_together(requests, GPU))
    assert texts(sample(model, tokenizer, PROMPTS, settings)) == alone
