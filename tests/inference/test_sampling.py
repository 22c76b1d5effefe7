"""Sampling against transformers' own generation, exact distributions, and its promises."""

import copy
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from lib.data.chat import encode_prompt, encode_response, stop_token_ids
from lib.inference.engine.decoding import Engine, rows_in_pass
from lib.inference.engine.prepacked_weights import onednn_multiplies, prepacked_weights
from lib.inference.engine.sampling_mode import sampling_mode
from lib.inference.prompts import encode_within, messages_of
from lib.inference.sampling import SamplingSettings, sample
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.packaged import is_whole
from lib.modeling.packages import PACKAGED
from lib.runtime.files import Row
from lib.runtime.places import kept
from tests.inference.tiny_models import FAMILIES, PROMPTS, texts, tiny


def generated(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, row: Row,
              **options: Any) -> str:
    tokens = torch.tensor([encode_prompt(tokenizer, messages_of(row))])
    out = model.generate(tokens, do_sample=False, pad_token_id=0, **options)
    return tokenizer.decode(out[0, tokens.shape[1]:], skip_special_tokens=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_generate_token_by_token(
        family: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny(family, tokenizer)
    settings = SamplingSettings(samples=1, temperature=0, max_new_tokens=40, rows=3)
    rows = sample(model, tokenizer, PROMPTS, settings, stops=[])
    for row in rows:
        assert row["candidates"][0]["tokens"] == 40
        assert row["candidates"][0]["text"] == generated(model, tokenizer, row, max_new_tokens=40)


def test_a_repetition_penalty_is_that_of_generate(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    settings = SamplingSettings(samples=1, temperature=0, repetition_penalty=1.5,
                                max_new_tokens=30)
    for row in sample(qwen, tokenizer, PROMPTS, settings, stops=[]):
        assert row["candidates"][0]["text"] == generated(
            qwen, tokenizer, row, max_new_tokens=30, repetition_penalty=1.5)


@pytest.mark.parametrize("ruined", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_training_has_ruined_is_refused_in_one_sentence(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ruined: float,
        temperature: float) -> None:
    broken = copy.deepcopy(qwen)
    vars(broken).pop("sampler", None)  # what other tests found of the whole one
    with torch.no_grad():
        for weights in broken.parameters():
            weights.fill_(ruined)
    settings = SamplingSettings(samples=2, temperature=temperature, max_new_tokens=4)
    with pytest.raises(ValueError, match="predictions are no numbers.*lower the learning rate"):
        sample(broken, tokenizer, PROMPTS, settings)
    broken.sampler = "slots"  # found good on other tokens
    with pytest.raises(ValueError, match="an answer to p. has a probability that is no number"):
        sample(broken, tokenizer, PROMPTS, settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_greedy_answers_of_a_packaged_model_are_those_of_generate(name: str) -> None:
    if PACKAGED[name].terms and not is_whole(kept("models") / PACKAGED[name].title):
        pytest.skip(f"{name} is fetched only where someone asks for it")
    model, tokenizer = load_model(name), load_tokenizer(name)
    settings = SamplingSettings(samples=1, temperature=0, max_new_tokens=32)
    stops = stop_token_ids(tokenizer)
    rows = sample(model.eval(), tokenizer, PROMPTS, settings)
    model.set_attn_implementation("sdpa")
    for row in rows:
        assert row["candidates"][0]["text"] == generated(
            model, tokenizer, row, max_new_tokens=32, eos_token_id=stops)


@pytest.mark.parametrize(("top_k", "top_p", "temperature"),
                         [(5, 1.0, 0.7), (None, 1.0, 1.3), (8, 0.6, 1.0), (None, 0.3, 1.0)])
def test_sampled_frequencies_pass_a_chi_square_test_against_the_exact_distribution(
        top_k: int | None, top_p: float, temperature: float, qwen: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase) -> None:
    draws = 3000
    settings = SamplingSettings(samples=draws, temperature=temperature, top_k=top_k, top_p=top_p,
                                max_new_tokens=1, rows=256)
    exact = exact_distribution(qwen, tokenizer, settings)
    rows = sample(qwen, tokenizer, PROMPTS[:1], settings, stops=[])
    logps = [answer["sampling_logprob"] for answer in rows[0]["candidates"]]
    seen = {logp: logps.count(logp) for logp in logps}
    expected = {min(seen, key=lambda value: abs(value - p.log().item())): p.item() * draws
                for p in exact if p * draws > 5}
    common = [(seen[logp], count) for logp, count in expected.items()]
    rest = (draws - sum(a for a, _ in common), draws - sum(b for _, b in common))
    if rest[1] > 1:
        common.append(rest)
    else:
        assert rest[0] <= 5
    observed, wanted = torch.tensor(common, dtype=torch.float64).T
    assert len(common) > 2
    assert chisquare(observed, wanted / wanted.sum() * observed.sum()).pvalue > 0.001


def exact_distribution(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
                       settings: SamplingSettings) -> torch.Tensor:
    """Probabilities of the first token by the definition of top-k and top-p."""
    tokens = torch.tensor([encode_prompt(tokenizer, messages_of(PROMPTS[0]))])
    with torch.no_grad():
        logits = model(tokens).logits[0, -1] / settings.temperature
    probabilities = logits.softmax(-1).sort(descending=True).values
    if settings.top_k:
        probabilities = probabilities[:settings.top_k]
    probabilities = probabilities / probabilities.sum()
    kept = 1 + int((probabilities.cumsum(0) < settings.top_p).sum())
    return probabilities[:kept] / probabilities[:kept].sum()


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_seeds_give_equal_answers_whatever_the_batch_size_and_order(
        rows: int, dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny("qwen2", tokenizer).to(dtype)
    settings = {"samples": 3, "temperature": 1.0, "max_new_tokens": 20}
    reference = sample(model, tokenizer, PROMPTS, SamplingSettings(**settings))
    other = sample(model, tokenizer, PROMPTS[::-1], SamplingSettings(rows=rows, **settings))
    assert texts(other) == texts(reference)
    assert [row["id"] for row in other] == [row["id"] for row in PROMPTS[::-1]]
    alone = sample(model, tokenizer, PROMPTS[2:3], SamplingSettings(**settings | {"samples": 2}))
    assert texts(alone)["p2"] == texts(reference)["p2"][:2]


def test_other_seeds_prompts_and_samples_give_other_answers(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    twin = [PROMPTS[0], PROMPTS[0] | {"id": "twin"}]
    first, second = (sample(qwen, tokenizer, twin, SamplingSettings(
        samples=2, temperature=1.0, max_new_tokens=20, seed=seed)) for seed in (0, 1))
    answers = [text for rows in (first, second) for pair in texts(rows).values() for text in pair]
    assert len(set(answers)) == 8


def test_rows_that_have_ended_leave_and_waiting_ones_take_their_place(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase,
        monkeypatch: pytest.MonkeyPatch) -> None:
    running = []
    step = Engine.step
    monkeypatch.setattr(Engine, "step", lambda engine: running.append(
        engine._admit() or len(engine.running)) or step(engine))
    settings = SamplingSettings(samples=4, temperature=1.0, max_new_tokens=30, rows=6)
    stops = list(range(3, 40))  # about one token in ten ends an answer
    rows = sample(qwen, tokenizer, PROMPTS, settings, stops=stops)
    lengths = [answer["tokens"] for row in rows for answer in row["candidates"]]
    assert len(set(lengths)) > 3
    assert sum(running) == sum(lengths)  # no step was spent on an answer that had ended
    assert running == sorted(running, reverse=True)  # full until nothing waits, then shrinking
    assert running[0] == 6
    assert len(running) < sum(lengths) / 6 + 30


def test_log_probabilities_are_those_of_a_plain_forward_pass_over_the_tokens_that_were_drawn(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    settings = SamplingSettings(samples=2, temperature=0.8, top_k=6, max_new_tokens=12, rows=4)
    rows = sample(qwen, tokenizer, PROMPTS, settings)
    answers = [(encode_within(tokenizer, prompt, 1024)[0], answer)
               for prompt, row in zip(PROMPTS, rows, strict=True) for answer in row["candidates"]]
    for prompt, answer in answers:
        ids = answer["token_ids"]
        assert len(ids) == answer["tokens"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == answer["text"]
        assert (ids[-1] in stop_token_ids(tokenizer)) == (answer["finish"] == "stop")
        new = torch.tensor(ids)
        with torch.no_grad():
            logits = qwen(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1]
        logps = logits.log_softmax(-1).gather(1, new[:, None]).sum().item()
        assert answer["logprob"] == pytest.approx(logps, abs=1e-3)
        least = logits.topk(6).values[:, -1:]
        cut = (logits / 0.8).masked_fill(logits < least, -torch.inf)
        sampling = cut.log_softmax(-1).gather(1, new[:, None]).sum().item()
        assert answer["sampling_logprob"] == pytest.approx(sampling, abs=1e-3)
    again = [encode_response(tokenizer, messages_of(prompt), answer["text"])
             for prompt, row in zip(PROMPTS, rows, strict=True) for answer in row["candidates"]]
    drawn = [answer["token_ids"] for _, answer in answers]
    assert any(ids[:len(other)] != other[:len(ids)] for ids, other in zip(drawn, again, strict=True)
               ), "text that encodes to other tokens than were drawn is what this test is about"


def test_both_stop_tokens_end_an_answer_and_are_counted(
        tokenizer: PreTrainedTokenizerBase) -> None:
    for stop in stop_token_ids(tokenizer):
        model = tiny("qwen2", tokenizer)
        with torch.no_grad():  # a head that always says this token
            model.lm_head.weight.zero_()
            model.lm_head.weight[stop] = model.model.norm.weight
            model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
            model.lm_head.bias[stop] = 100
        row, = sample(model, tokenizer, PROMPTS[:1], SamplingSettings(samples=2))
        for answer in row["candidates"]:
            assert answer == {"text": "", "token_ids": [stop], "tokens": 1, "finish": "stop",
                              "logprob": pytest.approx(0, abs=1e-3),
                              "sampling_logprob": pytest.approx(0, abs=1e-3)}
    assert len(stop_token_ids(tokenizer)) == 2


def test_an_answer_that_does_not_end_is_cut_and_says_so(
        qwen: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    row, = sample(qwen, tokenizer, PROMPTS[:1], SamplingSettings(samples=1, max_new_tokens=5),
                  stops=[])
    assert row["candidates"][0]["finish"] == "length"
    assert row["candidates"][0]["tokens"] == 5


def test_greedy_is_top_k_of_one(qwen: PreTrainedModel,
                                tokenizer: PreTrainedTokenizerBase) -> None:
    greedy = sample(qwen, tokenizer, PROMPTS, SamplingSettings(samples=1, temperature=0))
    top_one = sample(qwen, tokenizer, PROMPTS, SamplingSettings(samples=1, top_k=1))
    assert texts(greedy) == texts(top_one)
    assert all(row["candidates"][0]["sampling_logprob"] == 0 for row in greedy + top_one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepacked_weights_give_the_same_bits_for_any_number_of_rows(dtype: torch.dtype) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(576, 1536, bias=False),
                                 torch.nn.Linear(1536, 576)).to(dtype)
    hidden = torch.randn(64, 576, dtype=dtype)
    with torch.inference_mode():
        plain = layers(hidden)
        with prepacked_weights(layers):
            assert all("forward" in vars(layer) for layer in layers) == onednn_multiplies(dtype)
            packed = layers(hidden)
            for running in (1, 3, 8, 24, 64):
                rows = rows_in_pass(running, 64, hidden.device, hidden.dtype)
                assert torch.equal(layers(hidden[:rows]), packed[:rows])
    torch.testing.assert_close(packed, plain, rtol=0, atol=0 if dtype == torch.bfloat16 else 1e-5)
    assert not any("forward" in vars(layer) for layer in layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sampling_forward_is_that_of_transformers(
        family: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model = tiny(family, tokenizer)
    tokens = torch.randint(0, 100, (1, 50))
    positions = torch.arange(50)[None]
    with torch.inference_mode():
        model.set_attn_implementation("sdpa")
        expected = model(tokens).logits
        with sampling_mode(model):
            assert hasattr(model.model.layers[0].self_attn, "qkv_proj") == (family != "gemma3")
            logits = model(input_ids=tokens, position_ids=positions,
                           past_key_values=DynamicCache()).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_is_given_back_as_it_was(tokenizer: PreTrainedTokenizerBase,
                                           dtype: torch.dtype) -> None:
    model = tiny("qwen2", tokenizer).to(dtype).train()
    before, weights = model.config._attn_implementation, copy.deepcopy(model.state_dict())
    sample(model, tokenizer, PROMPTS[:1], SamplingSettings(samples=1, max_new_tokens=2))
    assert model.training
    assert model.config._attn_implementation == before
    assert list(weights) == list(model.state_dict())  # optimizers go by the order
    assert all(torch.equal(weights[name], now) for name, now in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.set_attn_implementation("sdpa")
    model(torch.tensor([[1, 2]])).logits.sum().backward()  # it still trains
    assert all(parameter.grad is not None for parameter in model.parameters())
