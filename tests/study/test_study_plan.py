"""The plan: counted memory equals measured memory, and what cannot run is refused with a knob."""

from pathlib import Path

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import Qwen2Config, Qwen2ForCausalLM

from lib import ROOT
from lib.modeling.attention import use_packed_attention
from lib.modeling.packing import Tree
from lib.runtime.devices import Device
from lib.study import plan
from lib.study.__main__ import main
from lib.study.costs import GPUS, cost_row, cost_tables, recipe_costs, scale_costs
from lib.study.memory import SHAPES, Shape, shape_of, training_bytes
from lib.study.plan import memory_rows, plan_text, refusals, training_gb
from lib.study.profiles import load_profile
from lib.study.run import open_study
from lib.training.loop import Loop, Run
from lib.training.settings import SFTSettings
from lib.training.sft import SFTObjective

SMALL = Shape(layers=4, width=128, intermediate=512, heads=4, kv_heads=2, vocabulary=4096)
GPU = Device(torch.device("cuda"), torch.float16, "a T4 that is not here")


def measured_peak(settings: SFTSettings, folder: Path, dtype: torch.dtype) -> int:
    """Peak bytes of one optimizer step's tensors, by PyTorch's memory tracker, on CPU."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=SMALL.vocabulary, hidden_size=SMALL.width, intermediate_size=SMALL.intermediate,
        num_hidden_layers=SMALL.layers, num_attention_heads=SMALL.heads,
        num_key_value_heads=SMALL.kv_heads, tie_word_embeddings=True))
    use_packed_attention(model, "masked")
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    rows = [Tree((), (tuple(range(5, 133)),), ((0,) * 64 + (1,) * 64,)) for _ in range(16)]
    objective = SFTObjective(rows, settings.token_budget)
    loop = Loop(Run(model, objective, None, settings, folder, 0, torch.device("cpu"), dtype))
    loop._optimizer_step(loop.batches[0])  # the moments are there from the second step on
    tracker = MemTracker()
    tracker.track_external(model, loop.optimizer, *loop.weights.masters.values())
    with tracker:
        loop._optimizer_step(loop.batches[0])
    peak = tracker.get_tracker_snapshot("peak")
    return max(sum(parts.values()) - parts["Total"] if "Total" in parts else sum(parts.values())
               for parts in peak.values())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_counted_memory_is_the_measured_one_within_15_percent(
        dtype: torch.dtype, tmp_path: Path) -> None:
    settings = SFTSettings(batch_size=16, accumulation=1, token_budget=2048, checkpoint_every=0)
    counted = training_bytes(SMALL, settings, dtype != torch.float32)
    assert counted == pytest.approx(measured_peak(settings, tmp_path, dtype), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_activation_checkpointing_the_count_is_never_too_low(
        dtype: torch.dtype, tmp_path: Path) -> None:
    settings = SFTSettings(batch_size=16, accumulation=1, token_budget=2048, checkpoint_every=0,
                           activation_checkpointing=True)
    counted = training_bytes(SMALL, settings, dtype != torch.float32)
    assert counted >= measured_peak(settings, tmp_path, dtype)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_the_t4_profile_fits_in_15_gb(stage: str) -> None:
    assert training_gb(load_profile("t4"), GPU, stage) < 15
    assert training_gb(load_profile("paper"), GPU, stage) > 16


def test_memory_parts_add_up_to_the_stage() -> None:
    rows = [row for row in memory_rows(load_profile("t4")) if row["stage"] == "t4: dpo"]
    assert sum(row["gb"] for row in rows) == pytest.approx(
        training_gb(load_profile("t4"), GPU, "dpo"))


@pytest.mark.parametrize(("name", "billions"), [
    ("packaged", 0.1345), ("Qwen/Qwen2.5-0.5B", 0.494), ("Qwen/Qwen2.5-1.5B", 1.544),
    ("Qwen/Qwen2.5-7B", 7.616), ("Qwen/Qwen2.5-72B", 72.7)])
def test_shapes_have_the_parameters_of_their_model_cards(name: str, billions: float) -> None:
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_folders_shape_is_that_of_its_config(tmp_path: Path) -> None:
    Qwen2Config(vocab_size=99, hidden_size=16, intermediate_size=32, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2,
                tie_word_embeddings=True).save_pretrained(tmp_path)
    assert shape_of(str(tmp_path)) == Shape(3, 16, 32, 4, 2, 99)


def test_shards_need_less_memory_each_and_copies_do_not() -> None:
    shape, settings = SHAPES["Qwen/Qwen2.5-7B"], SFTSettings(activation_checkpointing=True)
    alone = training_bytes(shape, settings, True)
    assert training_bytes(shape, settings, True, 8, sharded=True) < alone / 3
    assert training_bytes(shape, settings, True, 8) == alone


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No warm-up: its second is spent in one test."""
    monkeypatch.setattr(plan, "training_rate", lambda *_: 1e12)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("memory", "settings", "knob"), [
    (24.0, {}, "set dpo.token_budget=8192"),
    (15.0, {}, "set dpo.token_budget=2048"),
    (6.0, {}, "dpo.lora_rank=16"),
    (1.0, {}, "train on more machines: --shard --processes")])
def test_what_does_not_fit_is_refused_with_the_knob_that_makes_it_fit(
        memory: float, settings: dict, knob: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "memory_here_gb", lambda _: memory)
    study = open_study("paper", str(tmp_path / "run"), {"model.precision": "bfloat16"} | settings)
    found = [problem for problem in refusals(study) if problem.startswith("dpo needs about")]
    assert f"and {memory:.1f} GB are there" in found[0]
    assert knob in found[0]


@pytest.mark.usefixtures("quick")
def test_a_run_that_cannot_work_stops_before_any_work(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    monkeypatch.setattr(plan, "memory_here_gb", lambda _: 200.0)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: disk_with(1e12))
    assert main(["--profile", "paper", "--run", str(tmp_path / "run")]) == 2
    assert "NVIDIA_API_KEY is not set; export the key, or set rewards.selector=" in (
        capsys.readouterr().err)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: disk_with(1e9))
    assert main(["--profile", "paper", "--run", str(tmp_path / "run")]) == 2
    assert "GB of disk and 1.0 GB are free" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def disk_with(free: float):  # noqa: ANN201
    return plan.shutil._ntuple_diskusage(int(2 * free), int(free), int(free))


@pytest.mark.usefixtures("quick")
def test_the_plan_counts_keys_calls_and_their_minutes(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_API_KEY", "nvapi-secret")
    text = plan_text(open_study("paper", str(tmp_path / "run"), {}))
    assert "NVIDIA_API_KEY (set); 5,280 calls, about 132 min at 40 a minute" in text
    assert "nvapi-secret" not in text


def test_the_smoke_plan_measures_its_rate_and_finds_nothing_against_it(tmp_path: Path) -> None:
    text = plan_text(open_study("smoke", str(tmp_path / "run"), {}))
    assert "measured by training two layers of this width" in text
    assert text.endswith("memory, disk and keys: enough for it here")


def test_costs_are_marked_computed_and_grow_with_model_pairs_and_n() -> None:
    rows = recipe_costs() + scale_costs()
    assert {row["kind"] for row in rows} == {"computed"}
    h200 = {row["model"]: row for row in recipe_costs() if row["gpu"].endswith("H200")}
    assert h200["0.5B"]["hours"] < h200["1.5B"]["hours"] < h200["7B"]["hours"]
    few, many = (cost_row("0.5B", GPUS[-1], samples=n) for n in (4, 64))
    assert many["answers_hours"] == pytest.approx(16 * few["answers_hours"])
    assert many["dpo_hours"] == few["dpo_hours"]


def test_an_unknown_model_in_the_cost_table_is_named() -> None:
    with pytest.raises(ValueError, match="model is '3B'; use 0.5B, 1.5B, 7B, 70B"):
        cost_row("3B", GPUS[0])


def test_the_readmes_cost_tables_are_those_that_the_command_prints() -> None:
    assert cost_tables() in (ROOT / "README.md").read_text(encoding="utf-8")
