"""Profiles: presets hold the paper's values, and what cannot be used stops in one sentence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lib.study.presets import PRESETS
from lib.study.profiles import ProfileError, load_profile, parse_setting
from lib.study.reward_models.remote import api_settings


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    assert load_profile(name).name == name


PAPERS_TABLE = {  # Qin & Garcia (2025), setting by setting
    "model.name": "Qwen/Qwen2.5-0.5B", "model.precision": "auto",  # bfloat16 on an A100
    "data.source": "hub",
    "data.sft_path": "HuggingFaceTB/smoltalk", "data.sft_config": "all", "data.sft_split": "train",
    "data.sft_rows": 8000, "data.max_length": 512,
    "data.preferences_path": "HuggingFaceH4/ultrafeedback_binarized",
    "data.preferences_split": "train_prefs", "data.preference_rows": None, "data.pairs": "written",
    "data.max_pair_length": 1024,
    "data.heldout_path": "HuggingFaceH4/ultrafeedback_binarized",
    "data.heldout_split": "test_prefs",
    "sft.epochs": 1.0, "sft.batch_size": 2 * 8, "sft.learning_rate": 5e-5,
    "sft.lora_rank": 0,
    "dpo.epochs": 1.0, "dpo.batch_size": 4 * 8, "dpo.learning_rate": 1e-6,
    "dpo.beta": 0.1, "dpo.loss": "dpo", "dpo.label_smoothing": 0.0, "dpo.lora_rank": 0,
    "sampling.samples": 4, "sampling.max_prompt_tokens": 1024, "sampling.max_new_tokens": 1024,
    "sampling.top_k": 50, "sampling.top_p": 1.0, "sampling.repetition_penalty": 1.0,
    "evaluation.prompts": 200, "evaluation.temperatures": (0.1, 0.25, 0.6, 1.0),
    "evaluation.rerank_base": True,
    "rewards.selector": "nemotron", "rewards.api_model": "nvidia/llama-3.1-nemotron-70b-reward",
    "rewards.base_url": "https://integrate.api.nvidia.com/v1",
    "rewards.key_variable": "NVIDIA_API_KEY"}


@pytest.mark.parametrize("setting", PAPERS_TABLE)
def test_the_paper_preset_holds_the_papers_table(setting: str) -> None:
    section, name = setting.split(".")
    assert getattr(getattr(load_profile("paper"), section), name) == PAPERS_TABLE[setting]


@pytest.mark.parametrize("name", ["paper", "t4"])
def test_hub_ids_of_model_and_data_are_pinned_to_a_commit(name: str) -> None:
    profile = load_profile(name)
    for revision in (profile.model.revision, profile.data.sft_revision,
                     profile.data.preferences_revision, profile.data.heldout_revision):
        assert re.fullmatch("[0-9a-f]{40}", revision)


def test_the_paper_has_an_independent_local_judge_and_a_third_model_to_fall_back_on() -> None:
    rewards = load_profile("paper").rewards
    assert len({rewards.selector, rewards.judge, rewards.fallback}) == 3


def test_the_paper_keeps_checkpoints_and_logs_at_regular_intervals() -> None:
    paper = load_profile("paper")
    for stage in (paper.sft, paper.dpo):
        assert stage.checkpoint_every > 0
        assert stage.evaluate_every > 0


def test_t4_is_the_paper_in_float16_with_less_memory() -> None:
    t4, paper = load_profile("t4"), load_profile("paper")
    assert t4.model.precision == "float16"
    memory = {"token_budget": paper.dpo.token_budget, "activation_checkpointing": False}
    for stage in ("sft", "dpo", "reward_model"):
        ours, theirs = getattr(t4, stage), getattr(paper, stage)
        assert ours.token_budget < theirs.token_budget
        assert replace(ours, **memory) == theirs
    assert (t4.data, t4.sampling, t4.evaluation, t4.rewards) == (
        paper.data, paper.sampling, paper.evaluation, paper.rewards)


@pytest.mark.parametrize(("setting", "message"), [
    ({"dpo.betta": 0.2}, r"unknown setting dpo\.betta; did you mean beta\?"),
    ({"dpoo.beta": 0.2}, "unknown setting dpoo; did you mean dpo"),
    ({"dpo.beta": "high"}, r"dpo\.beta is 'high'; expected a number"),
    ({"dpo.beta": True}, r"dpo\.beta is True; expected a number"),
    ({"dpo.beta": -1.0}, r"dpo: beta is -1.0; use a number above 0"),
    ({"sft.epochs": 0}, "epochs is 0.0; use a number above 0"),
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
