"""What is trained can be saved, which is tried before training, and it samples neutrally."""

from pathlib import Path

import pytest
from transformers import GenerationConfig, PreTrainedModel

from lib.data.chat import stop_token_ids
from lib.modeling.loading import ModelError, check_fit, load_model, load_tokenizer
from lib.modeling.saving import save_model, try_saving
from lib.modeling.smoke import smoke_model
from lib.runtime.files import write_json

DEFAULTS = [{"temperature": 0.9, "top_p": 0.6}, {"do_sample": True, "top_k": 20},
            {"repetition_penalty": 1.1}, {"do_sample": False, "temperature": 0.7},
            {"num_beams": 4, "length_penalty": 0.5}, {"no_repeat_ngram_size": 3},
            {"penalty_alpha": 0.6, "top_k": 4}, {"min_p": 0.1}, {"suppress_tokens": [5]},
            {"bad_words_ids": [[7]]}]


def with_defaults(folder: Path, defaults: dict) -> PreTrainedModel:
    """The smoke model as others saved it, with their sampling defaults."""
    model = load_model("smoke")
    save_model(model, load_tokenizer("smoke"), folder)
    write_json(folder / "generation_config.json", {**defaults, "eos_token_id": 0})
    return load_model(str(folder))


@pytest.mark.parametrize("defaults", DEFAULTS, ids=str)
def test_sampling_defaults_of_the_base_are_said_and_do_not_reach_the_saved_model(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], defaults: dict) -> None:
    model, tokenizer = with_defaults(tmp_path / "base", defaults), load_tokenizer("smoke")
    try_saving(model, tokenizer)
    said = capsys.readouterr().out
    assert all(f"{name} {value}" in said for name, value in defaults.items() if value is not False)
    save_model(model, tokenizer, tmp_path / "trained")
    saved = GenerationConfig.from_pretrained(tmp_path / "trained")
    neutral = GenerationConfig()
    assert all(getattr(saved, name) == getattr(neutral, name) for name in defaults)
    assert saved.eos_token_id == stop_token_ids(tokenizer)


def test_a_base_without_defaults_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    try_saving(load_model("smoke"), load_tokenizer("smoke"))
    assert capsys.readouterr().out == ""


def test_what_could_not_be_saved_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("smoke")

    def refuse(*_: object) -> None:
        raise ValueError("tokenizer_class is broken")
    tokenizer = load_tokenizer("smoke")
    monkeypatch.setattr(tokenizer, "save_pretrained", refuse)
    with pytest.raises(ModelError, match="could not be saved: tokenizer_class is broken"):
        try_saving(model, tokenizer)


def test_a_tokenizer_larger_than_the_embedding_is_refused_with_a_remedy() -> None:
    model, tokenizer = load_model("smoke"), load_tokenizer(str(smoke_model()))
    check_fit(tokenizer, model.config)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})  # padding that no text can hold
    check_fit(tokenizer, model.config)
    tokenizer.add_tokens(["<think>"])
    with pytest.raises(ModelError, match="'<think>', one of 1 tokens .*resize_token_embeddings"):
        check_fit(tokenizer, model.config)
