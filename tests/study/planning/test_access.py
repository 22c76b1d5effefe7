"""The key and the address of the reward API are tried once, before any work depends on them."""

import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from lib.modeling import loading
from lib.modeling.loading import ModelError, resolve_model
from lib.runtime.files import write_json
from lib.study.planning import access
from lib.study.planning.access import check_access, check_api, check_sampling_server
from lib.study.profiles import ProfileError, load_profile
from lib.study.reward_models.api import api_settings
from lib.study.run import Study, open_study
from lib.study.stages import sft
from tests.inference.api.servers import HOSTED, IGNORING, Kind, serving
from tests.study.stand_ins import judge_folder, nvidia_server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(("key", "status", "message"), [
    ("nvapi-wrong", 0, "the API answered 401: the API key is missing or not valid; put a valid"),
    ("nvapi-right", 402, "the account has no credits left"),
    ("nvapi-right", 403, "this key may not use nvidia/llama-3.1-nemotron-70b-reward"),
    ("nvapi-right", 500, "failed: no usable reply after 1 attempts, the last one: status 500")])
def test_a_key_that_does_not_open_the_api_is_one_sentence_at_once(
        key: str, status: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", key)
    with nvidia_server(status) as server, pytest.raises(ProfileError) as error:
        check_api(load_profile("paper", {"rewards.base_url": server.url}))
    assert message in str(error.value)
    assert key not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.bodies) == 1  # an error of the server too is not waited for


def test_a_retired_endpoint_is_said_and_does_not_stop_the_run(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-right")
    with nvidia_server(410) as server:
        check_api(load_profile("paper", {"rewards.base_url": server.url}))
    assert "Skywork-Reward-V2-Llama-3.2-1B will take its place" in capsys.readouterr().out


def test_no_key_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    with pytest.raises(ProfileError, match="NVIDIA_API_KEY is not set"):
        check_api(load_profile("paper"))


@pytest.mark.parametrize(("profile", "calls"), [("laptop", 0), ("paper", 1)])
def test_only_a_profile_with_the_api_asks_it(
        profile: str, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-right")
    with nvidia_server() as server:
        check_api(load_profile(profile, {"rewards.base_url": server.url}))
    assert len(server.bodies) == calls


@pytest.mark.parametrize(("settings", "calls"), [
    ({}, 40), ({"rewards.base_url": "http://judge:8000/v1"}, 60_000),
    ({"rewards.requests_per_minute": 7}, 7)])
def test_the_trials_rate_limit_is_kept_where_nvidia_hosts(settings: dict, calls: int) -> None:
    assert api_settings(load_profile("paper", settings).rewards).calls_per_minute == calls


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the hub is asked for, in place of asking."""
    names: list[str] = []
    monkeypatch.setattr(access, "check_sources", lambda data: names.append(data.sft_path))
    monkeypatch.setattr(access, "check_model", lambda name, revision: names.append(name))
    return names


def local_judges(folder: Path) -> Study:
    """The paper's study with a classifier in both roles, so that no API is asked."""
    return open_study("paper", str(folder), {"rewards.selector": "owner/selector@v2"})


def test_models_and_data_are_asked_for_until_their_stage_is_finished(
        asked: list[str], tmp_path: Path) -> None:
    study = local_judges(tmp_path)
    check_access(study)
    assert sorted(asked) == sorted(["HuggingFaceTB/smoltalk", "Qwen/Qwen2.5-0.5B",
                                    "owner/selector", study.profile.rewards.judge])
    asked.clear()
    write_json(study.path("data", "manifest.json"), {})
    check_access(study)
    assert "HuggingFaceTB/smoltalk" not in asked
    asked.clear()
    write_json(study.path("responses", "manifest.json"), {})
    check_access(study)
    assert asked == []
    check_access(replace(study, force=True))
    assert len(asked) == 4


@pytest.mark.parametrize(("kind", "served", "sentence"), [
    (IGNORING, "base", "ignores top_k, and sampling.top_k is 50; set it to null"),
    (IGNORING, "another", "ignores top_k, and sampling.top_k is 50; set it to null"),
    (HOSTED, "base", "refuses top_k, and sampling.top_k is 50")])
def test_a_server_that_samples_otherwise_is_refused_before_any_training(
        kind: Kind, served: str, sentence: str, tmp_path: Path) -> None:
    with serving(kind, served) as server:
        study = open_study("smoke", str(tmp_path), {
            "sampling.server": server.settings.base_url})
        with pytest.raises(ProfileError, match=sentence):
            check_sampling_server(study)


def test_a_reward_model_in_a_folder_is_tried_on_an_answer_before_any_training(
        asked: list[str], tmp_path: Path) -> None:
    judge = judge_folder(tmp_path / "judge")
    check_access(open_study("smoke", str(tmp_path / "run"), {"rewards.selector": str(judge)}))
    broken = AutoModelForSequenceClassification.from_pretrained(judge)
    with torch.no_grad():
        broken.score.weight.fill_(float("nan"))
    broken.save_pretrained(judge)
    for role in ("selector", "judge"):
        study = open_study("smoke", str(tmp_path / role), {f"rewards.{role}": str(judge)})
        with pytest.raises(ProfileError, match="gives a test answer no score .*output is nan"):
            check_access(study)


def test_a_server_that_is_not_there_yet_is_said_and_does_not_stop_the_run(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = "http://127.0.0.1:9/v1"
    study = open_study("smoke", str(tmp_path), {"sampling.server": address})
    check_sampling_server(study)
    assert f"no list of models at {address} yet" in capsys.readouterr().out
    write_json(study.path("responses", "manifest.json"), {})
    check_sampling_server(study)
    assert capsys.readouterr().out == ""


def test_the_laptop_asks_no_hub(asked: list[str], tmp_path: Path) -> None:
    check_access(open_study("laptop", str(tmp_path)))
    assert asked == [""]  # the sample's own files


def test_a_hub_that_does_not_answer_is_said_and_does_not_stop_the_run(
        asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    never = Event()
    monkeypatch.setattr(access, "PATIENCE", 0.05)
    monkeypatch.setattr(access, "check_model", lambda name, revision: never.wait(30))
    check_access(local_judges(tmp_path))
    never.set()
    assert "Qwen/Qwen2.5-0.5B did not answer within 0 s; the run starts without" in (
        capsys.readouterr().out)


def test_a_hubs_model_is_tried_once_its_weights_are_here(
        asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(model: str) -> str:
        """As a model that no sampler can read."""
        tried.append(model)
        raise ModelError("Odd cannot be sampled from")
    monkeypatch.setattr(access, "load_model", lambda name, revision: f"{name} {revision}")
    monkeypatch.setattr(access, "sampler_of", refuse)
    monkeypatch.setattr(access, "is_here", lambda name, revision: False)
    check_access(local_judges(tmp_path))
    assert tried == []
    monkeypatch.setattr(access, "is_here", lambda name, revision: True)
    with pytest.raises(ProfileError, match="Odd cannot be sampled from"):
        check_access(local_judges(tmp_path))
    assert tried == [f"Qwen/Qwen2.5-0.5B {local_judges(tmp_path).profile.model.revision}"]


@pytest.mark.parametrize(("files", "here"), [
    ({"model.safetensors"}, True), (set(), False), ({"config.json"}, False),
    ({"model.safetensors.index.json", "a.safetensors", "b.safetensors"}, True),
    ({"model.safetensors.index.json", "a.safetensors"}, False)])
def test_weights_are_here_when_every_part_of_them_is(
        files: set[str], here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "model.safetensors.index.json", {
        "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})
    monkeypatch.setattr(loading, "try_to_load_from_cache", lambda name, file, revision:
                        str(tmp_path / file) if file in files else None)
    assert loading.is_here("owner/name") == here
    assert loading.is_here(str(tmp_path))


def test_a_reward_model_is_tried_or_known_by_its_kind_before_any_work(
        asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = SimpleNamespace(architectures=["LlamaForCausalLM"])
    monkeypatch.setattr(access, "check_model", lambda name, revision: kind)
    with pytest.raises(ProfileError, match="owner/selector is a language model"):
        check_access(local_judges(tmp_path))
    write_json(tmp_path / "rm" / "config.json", {"model_type": "qwen2"})
    study = open_study("smoke", str(tmp_path / "run"), {"rewards.selector": str(tmp_path / "rm")})
    with pytest.raises(ProfileError, match="cannot load the reward model .*rm: "):
        check_access(study)


def test_a_model_that_cannot_be_sampled_from_is_not_trained(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: str) -> str:
        """As a model that no sampler can read."""
        raise ModelError(f"{model} cannot be sampled from")
    monkeypatch.setattr(sft, "load_policy", lambda study, policy: (policy, None))
    monkeypatch.setattr(sft, "sampler_of", refuse)
    monkeypatch.setattr(sft, "train_job", lambda *_: pytest.fail("trained"))
    write_json(tmp_path / "data" / "manifest.json", {"outputs": {}})
    monkeypatch.setattr("lib.study.run.stage_inputs", lambda *_: {})
    with pytest.raises(ModelError, match="base cannot be sampled from"):
        sft.train_sft(open_study("paper", str(tmp_path)))


def test_a_template_whose_last_turn_has_no_end_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(resolve_model("smoke"), folder)
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}", encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        check_access(open_study("smoke", str(tmp_path / "run"), {"model.name": str(folder)}))
    assert "because no special token ends an answer; put a ChatML-like one into" in str(error.value)
    assert "\n" not in str(error.value)
