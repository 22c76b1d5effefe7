"""Profiles: presets hold the paper's values, and what cannot be used stops in one sentence."""

from pathlib import Path

import pytest

from lib.study.presets import PRESETS
from lib.study.profiles import ProfileError, load_profile, parse_setting
from lib.study.remote_rewards import api_settings


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    assert load_profile(name).name == name


def test_the_paper_preset_holds_the_papers_table() -> None:
    paper = load_profile("paper")
    assert paper.model.name == "Qwen/Qwen2.5-0.5B"
    assert paper.data.sft_path == "HuggingFaceTB/smoltalk"
    assert paper.data.preferences_path == "HuggingFaceH4/ultrafeedback_binarized"
    assert (paper.data.sft_rows, paper.data.max_length, paper.data.max_pair_length) == (
        8000, 512, 1024)
    assert (paper.sft.batch_size, paper.sft.accumulation, paper.sft.learning_rate,
            paper.sft.epochs) == (2, 8, 5e-5, 1.0)
    assert (paper.dpo.batch_size, paper.dpo.accumulation, paper.dpo.learning_rate, paper.dpo.beta,
            paper.dpo.epochs) == (4, 8, 1e-6, 0.1, 1.0)
    assert paper.data.preference_rows is None  # the full UltraFeedback
    assert paper.sampling.samples == 4
    assert set(paper.evaluation.temperatures) == {0.1, 0.25, 0.6, 1.0}
    assert (paper.sampling.max_prompt_tokens, paper.sampling.max_new_tokens) == (1024, 1024)
    assert paper.evaluation.prompts == 200
    assert paper.rewards.selector == "nemotron" != paper.rewards.judge


def test_t4_is_the_paper_in_float16_with_less_memory() -> None:
    t4, paper = load_profile("t4"), load_profile("paper")
    assert t4.model.precision == "float16"
    assert t4.dpo.token_budget < paper.dpo.token_budget
    assert t4.dpo.learning_rate == paper.dpo.learning_rate


@pytest.mark.parametrize(("setting", "message"), [
    ({"dpo.betta": 0.2}, r"unknown setting dpo\.betta; did you mean beta\?"),
    ({"dpoo.beta": 0.2}, "unknown setting dpoo; did you mean dpo"),
    ({"dpo.beta": "high"}, r"dpo\.beta is 'high'; expected a number"),
    ({"dpo.beta": True}, r"dpo\.beta is True; expected a number"),
    ({"dpo.beta": -1.0}, r"dpo: beta is -1.0; it must be above 0"),
    ({"sft.epochs": 0}, "epochs is 0.0; it must be above 0"),
    ({"sft.batch_size": 1.5}, r"sft\.batch_size is 1\.5; expected a whole number"),
    ({"sampling.top_k": 0}, "top_k is 0; use at least 1, or null"),
    ({"dpo.loss": "kto"}, r"dpo\.loss is 'kto'; use one of dpo, robust"),
    ({"dpo": 3}, r"dpo is 3; it is a section, set for example dpo\.learning_rate"),
    ({"evaluation.temperatures": [0.6, "hot"]}, r"temperatures is 'hot'; expected a number"),
    ({"rewards.selector": "x/y", "rewards.judge": "x/y"}, "the judge must not be the selector"),
])
def test_a_setting_that_cannot_be_used_is_named_with_value_and_what_is_allowed(
        setting: dict, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile("laptop", setting)


def test_an_unknown_profile_names_the_presets() -> None:
    with pytest.raises(ProfileError, match="'desktop'; use smoke, laptop, paper, t4 or a YAML"):
        load_profile("desktop")


def test_a_yaml_file_overrides_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: laptop\nsampling:\n  samples: 8\ndpo.beta: 0.2\n")
    profile = load_profile(str(path), {"dpo.epochs": 2})
    assert (profile.name, profile.sampling.samples, profile.dpo.beta, profile.dpo.epochs) == (
        "mine", 8, 0.2, 2.0)
    assert profile.sft == load_profile("laptop").sft


@pytest.mark.parametrize(("text", "message"), [
    ("base: desktop", "base is 'desktop'; use one of smoke"),
    ("- 1", "holds list"), ("a: [", "cannot read profile")])
def test_a_yaml_file_that_is_no_profile_is_refused(tmp_path: Path, text: str,
                                                   message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        load_profile(str(path))


def test_a_missing_yaml_file_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"cannot read profile nowhere\.yaml"):
        load_profile("nowhere.yaml")


@pytest.mark.parametrize(("text", "expected"), [
    ("dpo.beta=0.2", ("dpo.beta", 0.2)), ("dpo.learning_rate=1e-5", ("dpo.learning_rate", 1e-5)),
    ("sampling.top_k=null", ("sampling.top_k", None)),
    ("evaluation.temperatures=[0.1, 1]", ("evaluation.temperatures", [0.1, 1])),
    ("model.name=Qwen/Qwen2.5-0.5B", ("model.name", "Qwen/Qwen2.5-0.5B"))])
def test_settings_on_the_command_line_are_read_as_yaml(text: str, expected: tuple) -> None:
    assert parse_setting(text) == expected


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(ProfileError, match="write it as key=value"):
        parse_setting("dpo.beta")


def test_the_api_of_a_profile_is_the_one_that_its_settings_name() -> None:
    own = load_profile("paper", {"rewards.base_url": "http://localhost:8000/v1",
                                 "rewards.api_model": "nvidia/other-reward",
                                 "rewards.key_variable": "MY_KEY"})
    api = api_settings(own.rewards)
    assert (api.base_url, api.model, api.key_variable) == (
        "http://localhost:8000/v1", "nvidia/other-reward", "MY_KEY")
    assert api_settings(load_profile("paper").rewards).calls_per_minute == 40
