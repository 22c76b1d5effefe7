"""How far DPO moved is measured on the very tokens that it sampled."""

from functools import partial
from pathlib import Path

import pytest
import torch

from lib.data.chat import encode_prompt
from lib.inference.engine.distributions import sampling_logps
from lib.inference.sampling import SamplingSettings, sample
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.packed.divergence import Divergence, answer_divergence
from lib.modeling.packed.logps import response_logps
from lib.modeling.packed.packing import SharedPrompt, collate
from lib.runtime.files import Row, write_jsonl
from lib.study.run import Study, open_study
from lib.study.stages import drift
from lib.study.stages.drift import pool_nearest_temperature_1, prompt_and_answer

PROMPT = {"id": "p", "prompt": "Name a river.", "source": "test"}


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return load_tokenizer("smoke")


def candidate(tokenizer: object, ids: list[int] | None, text: str = "",
              finish: str = "stop") -> Row:
    text = text or tokenizer.decode(ids, skip_special_tokens=True)
    return {**PROMPT, "candidates": [{"text": text, "finish": finish, "token_ids": ids}]}


def letters(tokenizer: object, text: str) -> list[int]:
    """The text token by token of one letter each, which is not how the tokenizer writes it."""
    ids = [token for letter in text
           for token in tokenizer(letter, add_special_tokens=False)["input_ids"]]
    again = tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"]
    assert again != ids
    return ids


def test_an_answer_keeps_the_tokens_that_were_sampled_though_its_text_reads_as_others(
        tokenizer: object) -> None:
    ids = letters(tokenizer, "the answer")
    tree = prompt_and_answer(candidate(tokenizer, ids, finish="length"), tokenizer, 200)
    assert tree.answers == (tuple(ids),)
    assert tree.prompt == tuple(encode_prompt(tokenizer, [{"role": "user",
                                                           "content": PROMPT["prompt"]}]))


def test_only_an_answer_without_ids_is_tokenised_again(tokenizer: object) -> None:
    whole = prompt_and_answer(candidate(tokenizer, None, "the answer"), tokenizer, 200)
    cut = prompt_and_answer(candidate(tokenizer, None, "the answer", "length"), tokenizer, 200)
    assert whole.answers[0][:-1] == cut.answers[0]
    assert tokenizer.decode(cut.answers[0]) == "the answer"


def test_a_prompt_is_cut_where_sampling_cut_it(tokenizer: object) -> None:
    row = candidate(tokenizer, [5, 6]) | {"prompt": "word " * 100}
    assert len(prompt_and_answer(row, tokenizer, 40).prompt) == 40


def test_the_kl_is_that_of_the_sampled_tokens(tokenizer: object, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    study: Study = open_study("smoke", str(tmp_path))
    ids = letters(tokenizer, "the answer to it")
    rows = [candidate(tokenizer, ids), candidate(tokenizer, None, "the answer to it")]
    pools = study.path("responses", "pools")
    for pool in pool_nearest_temperature_1(study), drift._main_pool(study):
        write_jsonl(pool.file(pools), [{**row, "id": str(number)}
                                       for number, row in enumerate(rows)])
    models = {"dpo": shifted(load_model("smoke")), "sft": load_model("smoke")}
    monkeypatch.setattr(drift, "load_policy", lambda _, name: (models[name], tokenizer))
    compared = dict(drift._compare_answers(study, drift.DRAWN))
    sampled, again = compared["answers"]
    prompt = encode_prompt(tokenizer, [{"role": "user", "content": PROMPT["prompt"]}])
    batch = collate([SharedPrompt(tuple(prompt), (tuple(ids),))], torch.device("cpu"))
    logp, reference, kl, _ = map(float, answer_divergence(models["dpo"], models["sft"], batch))
    assert (sampled["sampled"], again["sampled"]) == (True, False)
    assert sampled["tokens"] == len(ids) != again["tokens"]
    assert [sampled[key] for key in ("logp", "reference_logp", "kl")] == pytest.approx(
        [logp, reference, kl], rel=1e-4)
    assert again["kl"] != pytest.approx(kl, rel=1e-2)
    settings = study.profile.sampling
    sampler = partial(sampling_logps, temperature=0.6, top_k=settings.top_k, top_p=settings.top_p)
    assert [compared["sampler_answers"][0][key] for key in Divergence._fields] == pytest.approx(
        [float(value) for value in answer_divergence(models["dpo"], models["sft"], batch, sampler)],
        rel=1e-4)


@pytest.mark.parametrize("setting", [{"temperature": 0}, {"repetition_penalty": 1.3}])
def test_a_sampler_without_one_distribution_has_no_kl(
        setting: dict, tokenizer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {f"sampling.{name}": value for name, value in setting.items()}
    study = open_study("smoke", str(tmp_path), settings)
    monkeypatch.setattr(drift, "load_policy", lambda *_: (None, tokenizer))
    assert dict(drift._compare_answers(study, ["sampler_answers"])) == {"sampler_answers": []}
    assert drift._sampler_kl(study, []) is None


def test_an_answers_log_probability_is_the_one_that_its_sampler_wrote(tokenizer: object) -> None:
    model, settings = load_model("smoke"), SamplingSettings(
        samples=1, max_new_tokens=16, temperature=1.0, max_prompt_tokens=60)
    prompts = [PROMPT | {"id": "short"}, PROMPT | {"id": "cut", "prompt": "word " * 100}]
    for row in sample(model, tokenizer, prompts, settings):
        candidate = row["candidates"][0]
        batch = collate([prompt_and_answer(row, tokenizer, 60)], torch.device("cpu"))
        assert float(response_logps(model, batch)) == pytest.approx(candidate["logprob"], rel=1e-5)


def shifted(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its last norm scaled, so that it is another policy."""
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    return model
