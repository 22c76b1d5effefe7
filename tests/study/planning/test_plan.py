"""The plan: what a run would take, and what cannot run is refused with a knob."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BloomConfig, GPT2Config, MambaConfig, PretrainedConfig, Qwen2Config

from lib import ROOT
from lib.inference.engine import openvino_model
from lib.modeling.loading import load_model
from lib.modeling.lora import with_lora
from lib.runtime.devices import Device
from lib.runtime.manifest import write_manifest
from lib.runtime.progress import duration
from lib.study.__main__ import main
from lib.study.notebooks import notebook_paths
from lib.study.planning import plan, preflight
from lib.study.planning.benchmark import Rates
from lib.study.planning.costs import GPUS, cost_row, cost_tables, gpu_of, recipe_costs, scale_costs
from lib.study.planning.memory import (
    SHAPES,
    Shape,
    shape_of,
    trained_parameters,
    training_bytes,
)
from lib.study.planning.plan import plan_of, plan_text, shorter
from lib.study.planning.requirements import (
    answers_of,
    deep_answers,
    disk_gb,
    memory_rows,
    training_gb,
)
from lib.study.profiles import load_profile, parse_setting
from lib.study.run import open_study
from lib.study.seeds import seed_runs
from lib.training.settings import SFTSettings

FAST = Rates(1e12, 1e9, 1e12, 1e12, "given")
GPU = Device(torch.device("cuda"), torch.float16, "a T4 that is not here")


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_the_t4_profile_fits_in_15_gb(stage: str) -> None:
    assert training_gb(load_profile("t4"), GPU, stage) < 15
    assert training_gb(load_profile("paper"), GPU, stage) > 16


def test_memory_parts_add_up_to_the_stage() -> None:
    rows = [row for row in memory_rows(load_profile("t4")) if row["stage"] == "t4: dpo"]
    assert sum(row["gb"] for row in rows) == pytest.approx(
        training_gb(load_profile("t4"), GPU, "dpo"))


@pytest.mark.parametrize(("name", "billions"), [
    ("packaged", 0.1345), ("gemma", 0.2681), ("Qwen/Qwen2.5-0.5B", 0.494),
    ("Qwen/Qwen2.5-1.5B", 1.544), ("Qwen/Qwen2.5-7B", 7.616), ("Qwen/Qwen2.5-72B", 72.7)])
def test_shapes_have_the_parameters_of_their_model_cards(name: str, billions: float) -> None:
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_folders_shape_is_that_of_its_config(tmp_path: Path) -> None:
    Qwen2Config(vocab_size=99, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2,
                tie_word_embeddings=True).save_pretrained(tmp_path)
    assert shape_of(str(tmp_path)) == Shape(3, 16, 32, 4, 2, 99)


@pytest.mark.parametrize(("config", "shape"), [
    (GPT2Config(vocab_size=99, n_embd=16, n_layer=3, n_head=4), Shape(3, 16, 64, 4, 4, 99)),
    (BloomConfig(vocab_size=99, hidden_size=16, n_layer=3, n_head=4), Shape(3, 16, 64, 4, 4, 99)),
    (MambaConfig(vocab_size=99, hidden_size=16, num_hidden_layers=3), Shape(3, 16, 32, 1, 1, 99))],
    ids=["gpt2", "bloom", "mamba"])
def test_a_folder_with_older_names_in_its_config_has_a_shape(
        config: PretrainedConfig, shape: Shape, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert replace(shape_of(str(tmp_path)), tied=True) == shape


def test_a_folder_whose_config_names_no_sizes_has_no_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert shape_of(str(tmp_path)) is None


def test_shards_need_less_memory_each_and_copies_do_not() -> None:
    shape, settings = SHAPES["Qwen/Qwen2.5-7B"], SFTSettings(activation_checkpointing=True)
    alone = training_bytes(shape, settings, True)
    assert training_bytes(shape, settings, True, 8, sharded=True) < alone / 3
    assert training_bytes(shape, settings, True, 8) == alone


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No warm-up: its seconds are spent in one test."""
    monkeypatch.setattr(plan, "measured_rates", lambda *_: FAST)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("memory", "settings", "knob"), [
    (24.0, {}, "set dpo.token_budget=8192"),
    (13.0, {}, "set dpo.token_budget=2048"),
    (6.0, {}, "dpo.lora_rank=16"),
    (1.0, {}, "train on more machines: --shard --processes")])
def test_what_does_not_fit_is_refused_with_the_knob_that_makes_it_fit(
        memory: float, settings: dict, knob: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "memory_gb", lambda _: memory)
    study = open_study("paper", str(tmp_path / "run"), {"model.precision": "bfloat16"} | settings)
    found = [problem for problem in preflight.blockers(study) if problem.startswith("dpo needs")]
    assert f"and {memory:.1f} GB are there" in found[0]
    assert knob in found[0]


def test_openvino_is_refused_where_it_cannot_sample(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "installed", lambda: "")
    study = open_study("smoke", str(tmp_path / "a"), {"sampling.engine": "openvino"})
    assert preflight.blockers(study)[0].endswith("not installed; " + openvino_model.INSTALL)
    both = open_study("smoke", str(tmp_path / "b"), {
        "sampling.engine": "openvino", "sampling.server": "http://localhost:8000/v1"})
    assert "only one can sample; leave one of them out" in preflight.blockers(both)[0]


@pytest.mark.usefixtures("quick")
def test_a_run_that_cannot_work_stops_before_any_work(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    monkeypatch.setattr(preflight, "memory_gb", lambda _: 200.0)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: disk_with(1e12))
    assert main(["--profile", "paper", "--run", str(tmp_path / "run")]) == 2
    assert "NVIDIA_API_KEY is not set; export the key, or set rewards.selector=" in (
        capsys.readouterr().err)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: disk_with(1e9))
    assert main(["--profile", "paper", "--run", str(tmp_path / "run")]) == 2
    assert "GB of disk and 1.0 GB are free" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_whose_models_are_trained_needs_no_disk_for_them(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: disk_with(1e9))
    for stage in ("sft", "dpo", "beyond"):
        assert any("GB of disk" in problem for problem in preflight.blockers(study))
        write_manifest(study.path(stage), {}, {}, [], 0.0, study.device)
    assert not any("GB of disk" in problem for problem in preflight.blockers(study))


def test_a_stream_keeps_no_copy_of_the_part_that_has_a_number_of_rows() -> None:
    whole, stream = (load_profile("paper", {"data.streaming": on}) for on in (False, True))
    assert disk_gb(whole) - disk_gb(stream) == pytest.approx(4.6)  # SmolTalk, not UltraFeedback


def disk_with(free: float):  # noqa: ANN201
    return preflight.shutil._ntuple_diskusage(int(2 * free), int(free), int(free))


@pytest.mark.usefixtures("quick")
def test_the_plan_counts_keys_calls_and_their_minutes(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-secret")
    text = plan_text(open_study("paper", str(tmp_path / "run"), {}))
    assert "NVIDIA_API_KEY (set); 10,080 calls, about 252 min at 40 a minute" in text
    assert "nvapi-secret" not in text


def test_the_answers_of_the_plan_are_those_of_the_pools() -> None:
    assert answers_of(load_profile("paper")) == 200 * 6 * 8
    assert answers_of(load_profile("laptop")) == 200 * (4 + 8 + 8) + 64 * 3 * 8
    assert answers_of(load_profile("laptop", {"evaluation.candidates": 5})) == \
        200 * (4 + 5 + 5) + 64 * 3 * 5


def test_the_long_pools_of_the_plan_are_those_of_sft_and_dpo() -> None:
    settings = {"evaluation.deep_samples": 16, "evaluation.deep_prompts": 10}
    assert deep_answers(load_profile("laptop", settings)) == 2 * 10 * 16
    assert deep_answers(load_profile("laptop")) == 0


def test_a_float16_profile_without_a_gpu_is_planned_for_a_t4(tmp_path: Path) -> None:
    text = plan_text(open_study("t4", str(tmp_path / "run"), {}))
    assert "computed: 25% of a T4's data sheet, because there is no GPU here" in text
    answers, = (line for line in text.splitlines() if line.startswith("responses"))
    assert "min" in answers
    minutes = int(answers.split()[1])
    assert minutes < 30  # on the processor it would be hours


def test_the_smoke_plan_measures_its_rate_and_finds_nothing_against_it(tmp_path: Path) -> None:
    text = plan_text(open_study("smoke", str(tmp_path / "run"), {}))
    assert "tokens/s, measured here" in text
    assert text.endswith("memory, disk and keys: enough for it here")


@pytest.mark.usefixtures("quick")
def test_a_plan_says_the_minutes_of_every_notebook_and_of_all(tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    planned = plan_of(study)
    assert list(planned.notebooks) == [path.stem for path in notebook_paths()]
    for name, seconds in planned.notebooks.items():
        assert seconds > sum(stage.seconds for stage in planned.stages if stage.notebook == name)
    text = plan_text(study, plan=planned)
    assert f"notebooks: 01_data {duration(planned.notebooks['01_data'])}, 02_sft " in text
    every, = (line for line in text.splitlines() if line.startswith("all "))
    assert duration(sum(planned.notebooks.values())) in every


@pytest.mark.usefixtures("quick")
def test_a_finished_stage_takes_no_time_unless_it_is_forced(tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    whole = {stage.name: stage.seconds for stage in plan_of(study).stages}
    write_manifest(study.path("sft"), {}, {}, [], 0.0, study.device)
    left, forced = plan_of(study), plan_of(replace(study, force=True))
    assert {stage.name: stage.seconds for stage in left.stages} == whole | {"sft": 0.0}
    assert {stage.name: stage.seconds for stage in forced.stages} == whole
    line, = (line for line in plan_text(study, plan=left).splitlines() if line.startswith("sft"))
    assert line.endswith("found; made again only where what it reads has changed")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("notebooks", [[], ["01_data"]])
def test_a_plan_of_a_finished_run_or_of_a_notebook_without_stages_is_a_plan(
        notebooks: list[str], tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    for stage in plan_of(study).stages:
        write_manifest(study.path(stage.name), {}, {}, [], 0.0, study.device)
    planned = plan_of(study, notebooks=notebooks)
    assert "disk: about 0.2 GB" in plan_text(study, plan=planned)


@pytest.mark.usefixtures("quick")
def test_a_plan_has_the_notebooks_that_run_and_what_would_shorten_them(tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    planned = plan_of(study, notebooks=["02_sft", "05_analysis"])
    assert list(planned.notebooks) == ["02_sft", "05_analysis"]
    assert [stage.name for stage in planned.stages] == ["sft", "movement", "results"]
    assert "beyond.arms" not in plan_text(study, plan=planned)


@pytest.mark.usefixtures("quick")
def test_every_seed_that_is_not_finished_adds_its_time(tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path / "run"))
    one, three = plan_of(study), plan_of(study, seeds=3)
    assert three.seconds == pytest.approx(3 * one.seconds)
    second = seed_runs(study, 2)[1]
    write_manifest(second.path("responses"), {}, {}, [], 0.0, study.device)
    times = {stage.name: stage.work.split(":")[0] for stage in plan_of(study, seeds=3).stages}
    assert (times["dpo"], times["responses"]) == ("3 times", "2 times")
    disk, = (line for line in plan_text(study, plan=three).splitlines()
             if line.startswith("disk"))
    assert disk == f"disk: about {3 * disk_gb(study.profile):.1f} GB"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("profile", ["laptop", "gemma"])
def test_what_would_make_a_run_shorter_can_be_set_and_saves_what_it_says(
        profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Rates(1e11, 1e8, 1e11, 1e11, "given")
    monkeypatch.setattr(plan, "measured_rates", lambda *_: slow)
    named = shorter(load_profile(profile), slow)
    assert named
    whole = plan_of(open_study(profile, str(tmp_path / "whole"))).seconds
    for text, saved in named:
        changed = dict(parse_setting(setting) for setting in text.split())
        less = plan_of(open_study(profile, str(tmp_path / "less"), changed)).seconds
        assert whole - less == pytest.approx(saved)
        assert f"--set {text} saves {duration(saved)}" in plan_text(
            open_study(profile, str(tmp_path / "whole")))


@pytest.mark.usefixtures("quick")
def test_a_run_of_a_minute_is_told_nothing_that_would_shorten_it(tmp_path: Path) -> None:
    assert "shorter:" not in plan_text(open_study("smoke", str(tmp_path / "run")))


@pytest.mark.usefixtures("quick")
def test_a_plan_says_that_stages_of_another_run_take_no_time(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"), from_run=str(tmp_path))
    assert f"from {tmp_path}: what it made with equal settings is copied" in plan_text(study)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("wanted", [True, False])
def test_the_plan_has_the_warning_run_where_there_is_one(wanted: bool, tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.warning_run": wanted})
    assert any(line.startswith("warning") for line in plan_text(study).splitlines()) == wanted


@pytest.mark.usefixtures("quick")
def test_the_plan_of_a_plain_base_says_its_download_its_terms_and_the_pairs_that_it_makes(
        tmp_path: Path) -> None:
    text = plan_text(open_study("gemma", str(tmp_path / "run"), {}))
    downloads, = (line for line in text.splitlines() if line.startswith("downloads"))
    assert "gemma 0.24 GB (Gemma is provided under and subject to the Gemma Terms" in downloads
    assert "packaged 0.09 GB (reads answers for the reward heads)" in downloads
    pairs, = (line for line in text.splitlines() if line.startswith("pairs"))
    assert "answers of the SFT model, from which its pairs are made" in pairs
    assert not any(line.startswith("pairs") for line in
                   plan_text(open_study("laptop", str(tmp_path / "other"), {})).splitlines())


def test_frozen_weights_have_no_checkpoints_on_disk() -> None:
    lora, all_weights = (load_profile("gemma", {f"{stage}.lora_rank": rank
                                                for stage in ("sft", "dpo", "warning")})
                         for rank in (32, 0))
    assert disk_gb(lora) < disk_gb(all_weights) / 3


def test_costs_are_marked_computed_and_grow_with_model_pairs_and_n() -> None:
    rows = recipe_costs() + scale_costs()
    assert {row["kind"] for row in rows} == {"computed"}
    h200 = {row["model"]: row for row in recipe_costs() if row["gpu"].endswith("H200")}
    assert h200["0.5B"]["hours"] < h200["1.5B"]["hours"] < h200["7B"]["hours"]
    few, many = (cost_row("0.5B", GPUS[-1], samples=n) for n in (4, 64))
    assert many["answers_hours"] == pytest.approx(16 * few["answers_hours"])
    assert many["dpo_hours"] == few["dpo_hours"]


def test_an_unknown_model_or_gpu_in_the_cost_table_is_named_and_one_too_small_too() -> None:
    with pytest.raises(ValueError, match="model is '3B'; use 0.5B, 1.5B, 7B, 70B"):
        cost_row("3B", GPUS[0])
    with pytest.raises(ValueError, match="gpu is 'B300'; use T4, A100, H200"):
        gpu_of("B300")
    with pytest.raises(ValueError, match="T4: 73B parameters do not fit on 1,024"):
        cost_row("70B", replace(gpu_of("T4"), memory_gb=2))


def test_the_pages_cost_tables_are_those_that_the_command_prints() -> None:
    page = ROOT / "lib" / "study" / "planning" / "README.md"
    assert cost_tables() in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("settings", "reason"), [
    ({"dpo.lora_rank": 577}, "dpo.lora_rank is 577 and the model is 576 wide; use at most 576"),
    ({"sft.lora_rank": 4, "sft.lora_targets": ["q_proj", "c_attn"]},
     "sft.lora_targets has 'c_attn', which no linear layer of the model is called; it has q_proj")])
def test_lora_that_the_model_cannot_have_is_refused_before_any_work(
        settings: dict, reason: str, tmp_path: Path) -> None:
    study = open_study("laptop", str(tmp_path), settings)
    assert [problem for problem in preflight.blockers(study) if problem.startswith(reason)]
    fine = {"dpo.lora_rank": 576, "dpo.lora_targets": ["attention", "self_attn.q_proj"]}
    study = open_study("laptop", str(tmp_path), fine)
    assert not [problem for problem in preflight.blockers(study) if "lora_targets" in problem]


def test_lora_trains_what_its_targets_hold() -> None:
    shape = SHAPES["smoke"]  # 64 wide, keys and values 32, MLP 128, two layers

    def trained(**settings: object) -> int:
        return trained_parameters(shape, SFTSettings(lora_rank=4, **settings))
    attention = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32))
    assert trained(lora_targets="attention") == trained(
        lora_targets=["attention", "q_proj"]) == attention
    assert trained() == attention + 2 * 4 * 3 * (64 + 128)
    assert trained(lora_targets=["q_proj"]) == 2 * 4 * 128
    assert trained_parameters(shape, SFTSettings()) == shape.parameters
    real = with_lora(load_model("smoke"), 4, 8)
    assert sum(p.numel() for p in real.parameters() if p.requires_grad) == trained()
