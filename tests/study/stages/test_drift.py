"""How far DPO moved is measured on the very tokens that it sampled."""

from pathlib import Path

import pytest
import torch

from lib.data.chat import encode_prompt
from lib.inference.sampling import SamplingSettings, sample
from lib.modeling.loading import load_model, load_tokenizer
from lib.modeling.packed.divergence import answer_divergence
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
    pool = pool_nearest_temperature_1(study).file(study.path("responses", "pools"))
    write_jsonl(pool, [{**row, "id": str(number)} for number, row in enumerate(rows)])
    models = {"dpo": shifted(load_model("smoke")), "sft": load_model("smoke")}
    monkeypatch.setattr(drift, "load_policy", lambda _, name: (models[name], tokenizer))
    sampled, again = drift._compare_answers(study)
    prompt = encode_prompt(tokenizer, [{"role": "user", "content": PROMPT["prompt"]}])
    batch = collate([SharedPrompt(tuple(prompt), (tuple(ids),))], torch.device("cpu"))
    logp, reference, kl = (float(value) for value in answer_divergence(models["dpo"],
                                                                        models["sft"], batch))
    assert (sampled["sampled"], again["sampled"]) == (True, False)
    assert sampled["tokens"] == len(ids) != again["tokens"]
    assert [sampled[key] for key in ("logp", "reference_logp", "kl")] == pytest.approx(
        [logp, reference, kl], rel=1e-4)
    assert again["kl"] != pytest.approx(kl, rel=1e-2)


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
