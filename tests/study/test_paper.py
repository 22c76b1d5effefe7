"""The paper profile from end to end on local stand-ins: paths, the URL and the size are changed."""

from pathlib import Path

import datasets
import pytest

from lib.data.chat import encode_conversation, encode_prompt, stop_token_ids
from lib.modeling.loading import load_model, load_tokenizer
from lib.runtime.files import read_json
from lib.study.publish.figures import save_figures
from lib.study.run import Study, open_study
from lib.study.stages.data import prepare_data
from lib.study.stages.dpo import train_dpo
from lib.study.stages.responses import sample_and_select
from lib.study.stages.results import evaluate_study
from lib.study.stages.sft import train_sft
from lib.study.stages.warning import run_warning
from tests.study.stand_ins import (
    BASE,
    INSTRUCT,
    judge_folder,
    nvidia_server,
    qwen_folder,
    qwen_tokenizer,
    smoltalk,
    ultrafeedback,
)

TURNS = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Po."}]


@pytest.fixture(autouse=True)
def _own_cache_and_key(tmp_path_factory: pytest.TempPathFactory,
                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-right")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The paper's settings that name a place, with ours in them."""
    root = tmp_path_factory.mktemp("hub")
    feedback = str(ultrafeedback(root / "ultrafeedback_binarized"))
    return {"model.name": str(qwen_folder(root / "Qwen2.5-0.5B")),
            "data.sft_path": str(smoltalk(root / "smoltalk")),
            "data.preferences_path": feedback, "data.heldout_path": feedback,
            "rewards.judge": str(judge_folder(root / "judge")),
            "rewards.fallback": str(judge_folder(root / "fallback", seed=2))}


def paper(places: dict[str, str], url: str, folder: Path) -> Study:
    return open_study("paper", str(folder), places | {
        "rewards.base_url": url, "evaluation.prompts": 6, "evaluation.temperature_prompts": 6})


@pytest.mark.slow
def test_the_paper_profile_runs_from_data_to_results(places: dict[str, str],
                                                     tmp_path: Path) -> None:
    with nvidia_server() as server:
        study = paper(places, server.url, tmp_path / "run")
        report = prepare_data(study)
        assert report["rows"]["heldout"] == 6
        train_sft(study)
        metrics = train_dpo(study)
        assert run_warning(study) == {}
        assert metrics[0]["loss"] == pytest.approx(0.6931472, abs=1e-6)
        systems = sample_and_select(study)
        results = evaluate_study(study)
        save_figures(study, results)
    for temperature in ("0.1", "0.25", "0.6", "1"):
        for row in systems[f"dpo+bon4@{temperature}"]:
            scores = [candidate["rewards"]["selector"] for candidate in row["candidates"]]
            assert row["chosen"] == scores.index(max(scores))
    assert {body["model"] for body in server.bodies} == {"nvidia/llama-3.1-nemotron-70b-reward"}
    assert {(row["a"], row["b"]) for row in results["win_rates"]} >= {
        ("sft", "base"), ("dpo", "sft"), ("dpo+bon4@0.25", "sft"), ("dpo+bon4@1", "sft")}
    for stage in ("sft", "dpo"):
        stops = read_json(study.path(stage, "model", "generation_config.json"))["eos_token_id"]
        tokenizer = load_tokenizer(str(study.path(stage, "model")))
        assert stops == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
        assert tokenizer.chat_template == BASE
    assert all("nvapi-right" not in path.read_text(errors="ignore")
               for path in study.folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("status", [404, 410])
def test_a_retired_endpoint_gives_way_to_the_local_model_and_not_to_the_judge(
        places: dict[str, str], tmp_path: Path, status: int,
        capsys: pytest.CaptureFixture[str]) -> None:
    from lib.study.reward_models.remote import remote_reward_model
    conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b c"}]
    with nvidia_server(status) as server:
        study = paper(places, server.url, tmp_path / "run")
        selector = remote_reward_model(study, study.profile.rewards.selector)
        judge = remote_reward_model(study, study.profile.rewards.judge)
        assert selector.score([conversation]) != judge.score([conversation])
    assert len(server.bodies) == 1  # the probe
    assert f"falling back to {places['rewards.fallback']}" in capsys.readouterr().out


def test_qwens_special_tokens_keep_their_order_and_kind() -> None:
    tokenizer = qwen_tokenizer()
    first = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == first
    assert stop_token_ids(tokenizer) == tokenizer.convert_tokens_to_ids(
        ["<|im_end|>", "<|endoftext|>"])
    assert "<tool_call>" not in tokenizer.all_special_tokens


@pytest.mark.parametrize(("template", "system"), [
    (BASE, "You are a helpful assistant."),
    (INSTRUCT, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")])
def test_base_and_instruct_templates_differ_in_the_system_prompt_and_mask_the_same_answer(
        template: str, system: str) -> None:
    tokenizer = qwen_tokenizer(template)
    prompt = tokenizer.decode(encode_prompt(tokenizer, TURNS[:1]))
    assert prompt == (f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nName a river."
                      "<|im_end|>\n<|im_start|>assistant\n")
    encoded = encode_conversation(tokenizer, TURNS, None)
    answer = [token for token, mask in zip(encoded.input_ids, encoded.response_mask, strict=True)
              if mask]
    assert tokenizer.decode(answer) == "The Po.<|im_end|>"


@pytest.mark.slow
def test_a_folder_keeps_the_template_that_it_came_with(tmp_path: Path) -> None:
    for name, template in (("base", BASE), ("instruct", INSTRUCT)):
        folder = str(qwen_folder(tmp_path / name, template))
        assert load_tokenizer(folder).chat_template == template
        assert load_model(folder).config.tie_word_embeddings
