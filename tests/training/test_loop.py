"""The training loop: many rows a step, step 0, faults, and nothing left to chance."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lib.modeling.loading import rounded_to
from lib.modeling.lora import with_lora
from lib.runtime.files import read_jsonl
from lib.training import loop as loop_file
from lib.training import losses
from lib.training.engine.evaluation import evaluate
from lib.training.engine.flops import peak_flops
from lib.training.engine.optimizer import MasterWeights
from lib.training.loop import Loop, Run, TrainingError, dropout_off, train
from lib.training.objective import Metrics, PackedRow, step_batches
from lib.training.processes import Processes
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import SFTObjective
from tests.inference.architectures import ARCHITECTURES
from tests.training.small_runs import CPU, dpo_objective, model, pairs, run_of, sequences

SFT = SFTSettings(learning_rate=1e-2, batch_size=8, token_budget=40, epochs=2,
                  checkpoint_every=2, evaluate_every=2)
DPO = DPOSettings(learning_rate=1e-2, batch_size=6, token_budget=60, checkpoint_every=1)


def sft_run(folder: Path, settings: SFTSettings = SFT, dtype: torch.dtype = torch.float32) -> Run:
    return run_of("sft", folder, dtype=dtype, settings=settings)


def dpo_run(folder: Path, dtype: torch.dtype = torch.float32) -> Run:
    return run_of("dpo", folder, dtype=dtype, settings=DPO)


def test_training_lowers_the_loss_and_logs_step_0(tmp_path: Path) -> None:
    train(sft_run(tmp_path))
    validation = [row for row in read_jsonl(tmp_path / "metrics.jsonl")
                  if row["split"] == "validation"]
    assert validation[0]["step"] == 0
    assert validation[-1]["loss"] < validation[0]["loss"] - 0.1


def first_gradients(run: Run) -> dict[str, torch.Tensor]:
    """Gradients of the first optimizer step, added up over its rows."""
    loop = Loop(run)
    examples = loop.batches[0]
    rows = run.objective.rows(examples, run.device)
    for row in rows:
        loop._backward(row, run.objective.weight(examples))
    return {name: master.grad for name, master in loop.weights.masters.items()}


def assert_equal_gradients(first: dict, second: dict) -> None:
    for name in first:
        assert (first[name] - second[name]).norm() <= 1e-3 * first[name].norm() + 1e-8, name


def test_a_batch_in_one_row_equals_the_same_in_many_rows_token_weighted(tmp_path: Path) -> None:
    whole = sft_run(tmp_path / "a", replace(SFT, token_budget=4096))
    split = sft_run(tmp_path / "b", replace(SFT, token_budget=21))
    assert_equal_gradients(first_gradients(whole), first_gradients(split))


def test_a_batch_of_pairs_in_one_row_equals_the_same_in_many_rows(tmp_path: Path) -> None:
    gradients = []
    for budget in (4096, 40):
        settings = replace(DPO, batch_size=4 * 8, token_budget=budget)
        gradients.append(first_gradients(run_of("dpo", tmp_path / str(budget),
                                                settings=settings)))
    assert_equal_gradients(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dpo_starts_at_exactly_ln_2_with_margin_0(tmp_path: Path, dtype: torch.dtype) -> None:
    run = dpo_run(tmp_path, dtype)
    row = next(iter(run.objective.rows(step_batches(run.objective.groups, DPO, 0)[0], run.device)))
    with rounded_to(run.model, dtype):
        loss, metrics = run.objective.loss(run.model, row)
    assert loss.item() / len(row.examples) == pytest.approx(math.log(2), abs=1e-7)
    assert metrics["rewards/margins"] == 0.0
    assert metrics["rewards/accuracies"] == 0.0


def test_a_live_reference_equals_the_cached_one(tmp_path: Path) -> None:
    policy = model()
    cached = dpo_objective(policy, tmp_path).reference
    live = reference_logps(policy, pairs(), [], 4096, "model", tmp_path / "other.jsonl", CPU)
    torch.testing.assert_close(cached, live, atol=1e-4, rtol=0)


def test_the_reference_cache_goes_on_and_knows_when_it_is_stale(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "reference.jsonl"
    first = dpo_objective(model(), tmp_path).reference
    lines = cache.read_text().splitlines()
    cache.write_text("\n".join([*lines[:2], lines[2][:20]]))  # cut short while writing a line
    assert torch.equal(dpo_objective(model(), tmp_path).reference, first)
    reference_logps(model(), pairs(), [], 60, "another model", cache, CPU)
    assert "computing it again" in capsys.readouterr().out


def test_activation_checkpointing_recomputes_and_changes_no_gradient(tmp_path: Path) -> None:
    plain = first_gradients(sft_run(tmp_path))
    run = sft_run(tmp_path, replace(SFT, activation_checkpointing=True))
    run.model.gradient_checkpointing_enable({"use_reentrant": False})
    passes = []
    run.model.get_decoder().layers[0].mlp.register_forward_pre_hook(
        lambda *_: passes.append(1))
    again = first_gradients(run)
    rows = run.objective.rows(step_batches(run.objective.groups, run.settings, 0)[0], run.device)
    assert len(passes) == 2 * len(rows)  # once forward, once more in the backward
    assert_equal_gradients(plain, again)


def test_the_loss_that_is_taught_is_the_loss_that_trains(tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    run, taught = sft_run(tmp_path), losses.sft_loss
    row = run.objective.rows(range(3), CPU)[0]
    before = run.objective.loss(run.model, row)[0].item()
    monkeypatch.setattr(losses, "sft_loss", lambda *given, **more: 2 * taught(*given, **more))
    assert run.objective.loss(run.model, row)[0].item() == 2 * before


def test_the_parts_of_a_step_add_up_to_its_mean_loss() -> None:
    logps, mask = torch.randn(4, 6), torch.randint(0, 2, (4, 6))
    parts = [losses.sft_loss(logps[i], mask[i], tokens=mask.sum()) for i in range(4)]
    torch.testing.assert_close(sum(parts), losses.sft_loss(logps, mask))


def test_lora_trains_through_the_same_loop(tmp_path: Path) -> None:
    run = sft_run(tmp_path)
    run.model = with_lora(run.model, rank=4, alpha=8)
    before = evaluate(run.model.eval(), run.objective, run.device)["loss"]
    state = train(run)
    assert all("lora" in name for name in state)
    assert evaluate(run.model, run.objective, run.device)["loss"] < before - 0.01


def test_two_equal_runs_give_equal_weights(tmp_path: Path) -> None:
    first = train(sft_run(tmp_path / "a", dtype=torch.bfloat16))
    second = train(sft_run(tmp_path / "b", dtype=torch.bfloat16))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_loss_that_is_not_a_number_stops_with_step_rows_and_checkpoint(tmp_path: Path) -> None:
    run = sft_run(tmp_path)
    with torch.no_grad():
        run.model.get_decoder().norm.weight.fill_(float("nan"))
    run.validation = None
    with pytest.raises(TrainingError, match=r"not a number at step 1, rows \[.*checkpoint: none"):
        train(run)


class InfiniteSlope(SFTObjective):
    """A loss that is a number and has a gradient that is none, as a root has at 0."""

    def loss(self, model: PreTrainedModel, row: PackedRow) -> tuple[torch.Tensor, Metrics]:
        loss, metrics = super().loss(model, row)
        return loss + (loss - loss.detach()).abs().sqrt(), metrics


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_is_not_a_number_stops_before_the_weights_take_it(
        tmp_path: Path, dtype: torch.dtype) -> None:
    run = replace(sft_run(tmp_path, dtype=dtype), validation=None)
    run.objective = InfiniteSlope(sequences(), SFT.token_budget)
    loop = Loop(run)
    with pytest.raises(TrainingError, match=r"gradient is not a number at step 1, rows \[\d"):
        loop.finish()
    assert all(master.isfinite().all() for master in loop.weights.masters.values())


def test_many_gpus_use_a_share_of_their_arithmetic_that_is_no_larger_than_of_one(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def share(model: object, tokens: float, *_: object) -> dict[str, float]:
        asked.append(tokens)
        return {}
    monkeypatch.setattr(loop_file, "model_flops_utilisation", share)
    loops = [Loop(replace(sft_run(tmp_path / str(count)), processes=Beside(count=count)))
             for count in (1, 2)]
    whole = [loop._optimizer_step(loop.batches[0])["computed_tokens"] for loop in loops]
    assert asked == [whole[0], whole[1] / 2]


class Beside(Processes):
    """The main one of several processes, of which every other has done the same work."""

    def gather(self, value: Any) -> list[Any]:
        return [value] * self.count


@pytest.mark.parametrize(("name", "peak"), [
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA L40", 181e12),
    ("NVIDIA L40S", 362e12), ("NVIDIA L4", 121e12), ("NVIDIA A100-SXM4-80GB", 312e12),
    ("Tesla T4", 65e12), ("NVIDIA T400 4GB", None), ("NVIDIA RTX A4000", None)])
def test_the_peak_of_a_gpu_is_that_of_its_whole_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_lack_of_memory_names_the_knob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sft_run(tmp_path)
    run.validation = None

    def starved(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
    monkeypatch.setattr(run.objective, "loss", starved)
    with pytest.raises(TrainingError, match=r"lower token_budget \(now 40\)"):
        train(run)


def test_metrics_carry_trls_names(tmp_path: Path) -> None:
    run = dpo_run(tmp_path)
    train(run)
    row = [row for row in read_jsonl(tmp_path / "metrics.jsonl") if row["split"] == "train"][-1]
    assert {"step", "split", "loss", "rewards/chosen", "rewards/rejected", "rewards/margins",
            "rewards/accuracies", "logps/chosen", "logps/rejected", "grad_norm", "learning_rate",
            "num_tokens", "tokens_per_second"} <= set(row)
    assert evaluate(run.model, run.objective, run.device)["loss"] < math.log(2)


def test_rotary_frequencies_stay_exact_when_the_weights_are_rounded() -> None:
    policy = model()
    before = policy.model.rotary_emb.inv_freq.clone()
    MasterWeights(policy, torch.bfloat16)
    assert next(policy.parameters()).dtype == torch.bfloat16
    assert torch.equal(policy.model.rotary_emb.inv_freq, before)


CHANCES = {"attention_dropout": 0.5, "hidden_dropout": 0.5, "dropout": 0.5, "layerdrop": 0.5,
           "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5, "router_jitter_noise": 0.5,
           "embed_dropout": 0.5, "activation_dropout": 0.5}


@pytest.mark.parametrize("name", [
    "bloom, ALiBi", "opt", "gpt2", "gpt_neo, windows", "gptj", "gpt_neox, parallel", "phi3",
    "phi, parallel", "mixtral", "gpt_bigcode", "llama"])
def test_no_chance_of_training_mode_is_left(name: str) -> None:
    kind, settings = ARCHITECTURES[name]
    known = AutoConfig.for_model(kind)
    chances = {chance: value for chance, value in CHANCES.items() if hasattr(known, chance)}
    assert chances
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings, **chances))
    ids = torch.arange(12)[None]
    with torch.no_grad():
        expected = model.eval()(ids).logits
        dropout_off(model)
        torch.testing.assert_close(model.train()(ids).logits, expected)
