"""Profiles: presets build, and what cannot be used stops in one sentence."""

import ast
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lib import ROOT
from lib.modeling.packages import PACKAGED
from lib.runtime.settings import build
from lib.study.planning.requirements import answers_of
from lib.study.presets import PRESETS
from lib.study.profiles import Profile, ProfileError, load_profile, parse_setting
from lib.study.reward_models.remote import api_settings


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    assert load_profile(name).name == name


def test_the_paper_profile_makes_the_papers_steps_and_answers() -> None:
    paper = load_profile("paper")
    assert paper.data.sft_rows / paper.sft.batch_size == 500  # 8,000 rows, 16 a step
    assert paper.dpo.batch_size == 32
    assert paper.sft.warmup_share == paper.dpo.warmup_share == 0
    pools = {"sft": 1, "base": 1, "dpo": 4}  # sampling temperatures of each policy
    assert answers_of(paper) == 200 * 8 * sum(pools.values())  # the paper's 4, and 4 more


def test_the_paper_selects_with_the_reward_model_that_it_names_and_trains_all_weights() -> None:
    paper = load_profile("paper")
    assert api_settings(paper.rewards).model == "nvidia/llama-3.1-nemotron-70b-reward"
    assert paper.sft.lora_rank == paper.dpo.lora_rank == 0
    assert (paper.data.pairs, paper.dpo.loss) == ("written", "dpo")


def test_only_the_profile_gemma_starts_from_a_model_under_terms_of_its_own() -> None:
    assert [name for name, model in PACKAGED.items() if model.terms] == ["gemma"]
    assert [name for name in PRESETS if load_profile(name).model.name == "gemma"] == ["gemma"]
    assert {load_profile(name).rewards.backbone for name in ("laptop", "gemma")} == {"packaged"}


def test_gemma_trains_small_matrices_on_pairs_that_the_run_makes_itself() -> None:
    gemma = load_profile("gemma")
    assert gemma.data.pairs == "self_generated"
    for stage in (gemma.sft, gemma.dpo, gemma.warning):
        assert stage.lora_rank == 32
        assert stage.token_budget >= 2 * gemma.data.max_length  # a pair of long answers fits a row


@pytest.mark.parametrize("name", ["paper", "t4"])
def test_hub_ids_of_model_and_data_are_pinned_to_a_commit(name: str) -> None:
    profile = load_profile(name)
    for revision in (profile.model.revision, profile.data.sft_revision,
                     profile.data.preferences_revision, profile.data.heldout_revision):
        assert re.fullmatch("[0-9a-f]{40}", revision)


def test_the_paper_has_another_local_model_for_a_judge_and_a_third_to_fall_back_on() -> None:
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
    ({"dpo.betta": 0.2}, r"unknown setting dpo\.betta; did you mean dpo\.beta\?"),
    ({"dpo.betaa": 0.2}, r"unknown setting dpo\.betaa; did you mean dpo\.beta\?"),
    ({"beta": 0.2}, r"unknown setting beta; did you mean dpo\.beta\?"),
    ({"epochs": 2}, r"did you mean sft\.epochs or dpo\.epochs\?"),
    ({"dpoo.beta": 0.2}, "unknown setting dpoo; did you mean dpo"),
    ({"zzz.like_it": 1}, "unknown setting zzz; known here: name, seed, model"),
    ({"dpo.beta": "high"}, r"dpo\.beta is 'high'; use a number"),
    ({"dpo.beta": True}, r"dpo\.beta is True; use a number"),
    ({"dpo.beta": -1.0}, r"dpo.* ?beta is -1.0; .*above 0"),
    ({"sft.accumulation": 8}, "accumulation is 8, which is part of batch_size now; set"),
    ({"sft.epochs": 0}, r"sft.* ?epochs is 0(\.0)?; .*above 0"),
    ({"sft.batch_size": 1.5}, r"sft\.batch_size is 1\.5; use a whole number"),
    ({"sampling.top_k": 0}, r"sampling\.top_k is 0; use a whole number of at least 1, or null"),
    ({"sampling.server": "local"}, r"server is 'local'; use text, or null \(an address such as http://"),
    ({"sampling.seed": 3}, "sampling.seed is 3; set seed, which training and sampling share"),
    ({"dpo.loss": "kto"}, r"dpo\.loss is 'kto'; use one of dpo, cdpo, robust"),
    ({"dpo.loss": "ipo", "dpo.label_smoothing": 0.1},
     r"dpo: label_smoothing is 0\.1, which loss=ipo does not read; leave it out, or use loss dpo"),
    ({"dpo": 3}, r"dpo is 3; it is a section, set for example dpo\.learning_rate"),
    ({"evaluation.temperatures": [0.6, "hot"]},
     "evaluation.temperatures is 'hot'; use a list of one or more, each a number of at least 0"),
    ({"rewards.selector": "x/y", "rewards.judge": "x/y"}, "the judge must not be the selector"),
])
def test_a_setting_that_cannot_be_used_is_named_with_value_and_what_is_allowed(
        setting: dict, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile("laptop", setting)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_leaves_beta_to_the_loss(name: str) -> None:
    assert load_profile(name).dpo.beta == 0.1  # the paper's
    assert load_profile(name, {"dpo.loss": "simpo"}).dpo.beta == 2.0
    assert load_profile(name, {"dpo.loss": "simpo", "dpo.beta": 0.2}).dpo.beta == 0.2


def test_an_unknown_profile_names_the_presets() -> None:
    with pytest.raises(ProfileError, match="'desktop'; use smoke, laptop, gemma, paper, t4 or"):
        load_profile("desktop")


def test_a_yaml_file_overrides_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: laptop\nsampling:\n  samples: 6\ndpo.beta: 0.2\n")
    profile = load_profile(str(path), {"dpo.epochs": 2})
    assert (profile.name, profile.sampling.samples, profile.dpo.beta, profile.dpo.epochs) == (
        "mine", 6, 0.2, 2.0)
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


def test_a_setting_by_its_last_word_alone_is_answered_with_where_it_belongs() -> None:
    for values in asdict(load_profile("laptop")).values():
        for name in values if isinstance(values, dict) else ():
            if name not in ("name", "seed", "model"):  # a profile has its own
                with pytest.raises(ProfileError, match=rf"did you mean \w+\.{name}\b"):
                    load_profile("laptop", {name: 1})


def test_a_profile_survives_the_file_through_which_it_reaches_another_process() -> None:
    profile = load_profile("paper", {"evaluation.temperatures": [0.25, 1]})
    assert build(Profile, json.loads(json.dumps(asdict(profile)))) == profile


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0[1-5]*.ipynb")),
                         ids=lambda path: path.stem)
def test_every_parameter_of_a_notebook_is_a_setting_of_the_profile(path: Path) -> None:
    """What papermill can set, --set can set too: `open_study(..., dpo__beta=beta)`."""
    code = ["".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]
            if cell["cell_type"] == "code"]
    parameters = {line.target.id for line in ast.parse(code[0]).body}
    call = next(node for text in code for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open_study")
    knobs = {keyword.arg: next(node.id for node in ast.walk(keyword.value)
                               if isinstance(node, ast.Name)) for keyword in call.keywords}
    assert {argument.id for argument in call.args} | set(knobs.values()) == parameters
    values = asdict(load_profile("laptop"))
    for knob in knobs:
        section, _, name = knob.partition("__")
        assert name in values[section]


@pytest.mark.parametrize(("settings", "message"), [
    ({"sampling.samples": 8}, "evaluation.candidates is 8; the best of sampling.samples = 8 "
     "against one other answer of its pool needs at least 9"),
    ({"evaluation.rerank_base": True}, "evaluation.base_candidates is 4; .* needs at least 5"),
    ({"evaluation.prompts": 40}, "evaluation.temperature_prompts is 64 of evaluation.prompts = 40; "
     "use at most 40"),
    ({"evaluation.candidates": 1}, "evaluation.candidates is 1"),
    ({"sampling.samples": 1}, "sampling.samples is 1; the best of one answer is that answer, use "
     "at least 2")])
def test_pools_that_no_comparison_can_use_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile("laptop", settings)


@pytest.mark.parametrize(("text", "key", "value"), [
    ("dpo: {learning_rate: 1e-6}", "dpo.learning_rate", 1e-6),
    ("dpo: {learning_rate: 5E-7}", "dpo.learning_rate", 5e-7),
    ("dpo.learning_rate: '2e-6'", "dpo.learning_rate", 2e-6),
    ("dpo: {beta: .1}", "dpo.beta", 0.1),
    ("seed: 010", "seed", 10),
    ("model: {revision: 1234567}", "model.revision", "1234567"),
    ("model: {revision: 0012345}", "model.revision", "0012345"),
    ("model: {revision: 12e4567}", "model.revision", "12e4567"),
    ("model: {revision: 2024-01-31}", "model.revision", "2024-01-31"),
    ("model: {revision: 1.10}", "model.revision", "1.10"),
    ("model: {revision: on}", "model.revision", "on"),
    ("model: {revision: null}", "model.revision", None),
    ("data.sft_revision: 7_654_321", "data.sft_revision", "7_654_321"),
    ("name: no", "name", "no"),
    ("evaluation: {temperatures: [1e-1, 1]}", "evaluation.temperatures", (0.1, 1.0)),
    ("data: {streaming: yes}", "data.streaming", True),
    ("sampling: {top_k: 50}", "sampling.top_k", 50),
])
def test_a_yaml_value_has_the_type_of_its_setting(tmp_path: Path, text: str, key: str,
                                                  value: object) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    found: object = load_profile(str(tmp_path / "mine.yaml"))
    for part in key.split("."):
        found = getattr(found, part)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "value"), [
    ("model.revision=1234567", "1234567"), ("model.revision=1e10", "1e10"),
    ("model.name=123", "123"), ("seed=7", 7), ("dpo.learning_rate=1E-6", 1e-6),
    ("data.streaming=on", True), ("dpo={learning_rate: 1e-6}", {"learning_rate": 1e-6}),
    ("sampling.top_k=null", None)])
def test_a_setting_of_the_command_line_has_its_type_and_can_be_written_as_json(
        text: str, value: object) -> None:
    assert json.loads(json.dumps(parse_setting(text)[1])) == value


@pytest.mark.parametrize("text", ["dpo: {beta: 1:30}", "dpo: {beta: .inf}", "dpo: {beta: .nan}",
                                  "dpo: {beta: 2024-01-31}", "dpo: {beta: 0x1F.5}"])
def test_what_is_no_number_for_a_person_is_refused_for_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ProfileError, match=r"dpo\.beta|beta is"):
        load_profile(str(tmp_path / "mine.yaml"))


def test_lora_targets_are_names_and_mean_nothing_without_a_rank() -> None:
    given = {"dpo.lora_rank": 4, "dpo.lora_targets": "attention"}
    assert load_profile("laptop", given).dpo.lora_targets == ("attention",)
    names = load_profile("laptop", given | {"dpo.lora_targets": ["q_proj", "v_proj"]}).dpo
    assert names.lora_targets == ("q_proj", "v_proj")
    assert load_profile("laptop", given | {"dpo.lora_targets": []}).dpo.lora_targets is None
    assert "lora_targets" not in load_profile("laptop").sft.in_force()  # a finished run stays one
    with pytest.raises(ProfileError, match="lora_targets is q_proj, but lora_rank 0 trains all"):
        load_profile("laptop", {"sft.lora_targets": "q_proj"})
    with pytest.raises(ProfileError, match="dpo.lora_targets"):
        load_profile("laptop", given | {"dpo.lora_targets": [["q_proj"]]})
