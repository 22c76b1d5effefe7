"""A job's run: one load of the model, and equal draws of LoRA."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib import ROOT
from lib.data.parquet import write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences, load_sft
from lib.modeling.loading import model_hash, resolve_model, rounded_to
from lib.runtime.files import read_jsonl
from lib.training import job as jobs
from lib.training.dpo import train_dpo
from lib.training.job import Job, ProbeMaker, read_job, run_name
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import train_sft
from tests.training.small_runs import model


@pytest.fixture
def dpo_job(tmp_path: Path) -> Job:
    rows = load_preferences(DataSettings(preference_rows=6), 0)
    write_parquet(rows, tmp_path / "pairs.parquet")
    settings = DPOSettings(learning_rate=1e-3, batch_size=4, token_budget=1024, checkpoint_every=0)
    return Job("dpo", "smoke", str(tmp_path / "pairs.parquet"), str(tmp_path / "dpo"),
               str(tmp_path / "pairs.parquet"), settings, max_length=128, device="cpu",
               precision="bfloat16")


def test_dpo_loads_its_model_once_and_starts_at_ln_2(dpo_job: Job,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load = [], jobs.load_model

    def counting(*given: Any, **more: Any) -> Any:
        loads.append(given)
        return load(*given, **more)
    monkeypatch.setattr(jobs, "load_model", counting)
    train_dpo(dpo_job)
    assert len(loads) == 1
    first, *_ = read_jsonl(Path(dpo_job.folder) / "metrics.jsonl")
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["rewards/margins"] == 0.0
    assert len(read_jsonl(Path(dpo_job.folder) / "validation_rewards.jsonl")) == 6


def test_a_probe_is_a_function_that_sees_the_model_at_each_evaluation(dpo_job: Job) -> None:
    def constant(options: dict, tokenizer: Any) -> Any:
        return lambda model, step: {"judge_score": options["score"] + step}
    train_dpo(dpo_job, make_probe=ProbeMaker(constant, {"score": 7}))
    samples = [row for row in read_jsonl(Path(dpo_job.folder) / "metrics.jsonl")
               if row["split"] == "samples"]
    assert [row["judge_score"] for row in samples] == [7, 9]


def test_a_run_in_the_same_folder_from_another_model_starts_anew(
        dpo_job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(resolve_model("smoke"), other := tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: 2 * tensor for name, tensor in weights.items()}, other / "model.safetensors",
              metadata={"format": "pt"})
    write_parquet(load_sft(DataSettings(sft_rows=6), 0), tmp_path / "talks.parquet")
    job = replace(dpo_job, method="sft", rows=str(tmp_path / "talks.parquet"), validation="",
                  settings=SFTSettings(batch_size=4, token_budget=1024, checkpoint_every=1))
    train_sft(job)
    train_sft(job)
    assert "resuming from" in capsys.readouterr().out
    train_sft(replace(job, model=str(other)))
    assert "resuming from" not in capsys.readouterr().out


def test_another_revision_of_a_hub_model_is_another_model() -> None:
    assert model_hash("owner/name", "abc") != model_hash("owner/name", "def")


def test_a_model_is_rounded_within_a_block_and_exact_after_it() -> None:
    policy = model()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    with rounded_to(policy, torch.bfloat16):
        assert {parameter.dtype for parameter in policy.parameters()} == {torch.bfloat16}
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_equal_seeds_draw_equal_adapters_whatever_was_drawn_before(tmp_path: Path) -> None:
    write_parquet(load_sft(DataSettings(sft_rows=6), 0), tmp_path / "sft.parquet")
    settings = SFTSettings(batch_size=6, token_budget=1024, checkpoint_every=0, lora_rank=2)
    job = Job("sft", "smoke", str(tmp_path / "sft.parquet"), "", settings=settings, max_length=128,
              device="cpu", precision="float32")
    norms = []
    for name in ("a", "b"):
        torch.rand(3)
        train_sft(replace(job, folder=str(tmp_path / name)))
        norms += [row["grad_norm"] for row in read_jsonl(tmp_path / name / "metrics.jsonl")
                  if row["split"] == "train"]
    assert norms[0] == norms[1]


@pytest.mark.parametrize(("folder", "name"), [
    ("runs/laptop/sft", "SFT"), ("runs/laptop/dpo", "DPO"), ("dpo", "DPO"), ("mine", "mine"),
    ("runs/laptop/warning/on_policy_low", "warning/on_policy_low"),
    ("runs/laptop/arms/raft/round0", "raft/round0")])
def test_progress_calls_a_run_by_its_stage_or_by_its_folder(folder: str, name: str) -> None:
    assert run_name(Job("dpo", "smoke", "rows.parquet", folder)) == name


def test_simpo_trains_without_a_reference_and_says_what_validation_answers_gained(
        dpo_job: Job) -> None:
    settings = DPOSettings(loss="simpo", batch_size=4, epochs=0.5)
    train_dpo(replace(dpo_job, settings=settings))
    folder = Path(dpo_job.folder)
    assert not (folder / "reference_training.jsonl").exists()
    first, *_ = read_jsonl(folder / "metrics.jsonl")
    assert first["rewards/chosen"] < -1  # nats a token times beta, no log-ratio of 0
    for row in read_jsonl(folder / "validation_rewards.jsonl"):
        assert abs(row["chosen_gain"]) < 1 < abs(row["chosen"])


@pytest.mark.parametrize("method", ["dpo", "policy_gradient"])
def test_the_jobs_that_the_page_prints_can_be_read(method: str, tmp_path: Path) -> None:
    page = (ROOT / "lib" / "study" / "planning" / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in page.split("```yaml\n")[1:] if f"method: {method}\n" in block]
    (tmp_path / "job.yaml").write_text(blocks[0].split("```")[0])
    job, _ = read_job(tmp_path / "job.yaml")
    assert job.method == method
    assert job.settings.learning_rate == 1e-6
    assert job.max_length == 1024
