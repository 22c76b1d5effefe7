"""The training loop: accumulation, resuming, step 0, faults."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from lib.modeling.lora import with_lora
from lib.modeling.packed.attention import use_packed_attention
from lib.modeling.packed.gradients import set_master
from lib.modeling.packed.packing import SharedPrompt
from lib.runtime.files import FileError, read_jsonl
from lib.training import checkpoints
from lib.training.dpo import DPOObjective, Pair
from lib.training.loop import Loop, Run, TrainingError, evaluate, train
from lib.training.objective import step_batches
from lib.training.optimizer import LossScale, MasterWeights, learning_rate
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import SFTObjective

TIMING = {"tokens_per_second", "seconds", "peak_memory_gb"}


def model() -> PreTrainedModel:
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=61, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=True, attention_dropout=0.5))
    use_packed_attention(made, "segments")
    return made


def ids(count: int) -> tuple[int, ...]:
    return tuple(torch.randint(3, 61, (count,)).tolist())


@pytest.fixture
def sequences() -> list[SharedPrompt]:
    torch.manual_seed(1)
    trees = []
    for _ in range(24):
        prompt, answer = ids(int(torch.randint(2, 9, ()))), ids(int(torch.randint(1, 12, ())))
        trees.append(SharedPrompt((), (prompt + answer,), ((0,) * len(prompt) + (1,) * len(answer),)))
    return trees


@pytest.fixture
def pairs() -> list[Pair]:
    """Twelve prompts, some with two pairs that share an answer."""
    torch.manual_seed(2)
    made = []
    for number in range(12):
        prompt, best, middle, worst = ids(5), ids(6), ids(4), ids(7)
        made.append(Pair(f"{number}/0", prompt, best, worst, 2.0))
        if number % 2:
            made.append(Pair(f"{number}/1", prompt, best, middle, 1.0))
    return made


SFT = SFTSettings(learning_rate=1e-2, batch_size=8, accumulation=1, token_budget=40, epochs=2,
                  checkpoint_every=2, evaluate_every=2)
DPO = DPOSettings(learning_rate=1e-2, batch_size=6, accumulation=1, token_budget=60,
                  checkpoint_every=1)


def sft_run(folder: Path, sequences: list[SharedPrompt], settings: SFTSettings = SFT,
            dtype: torch.dtype = torch.float32) -> Run:
    objective = SFTObjective(sequences, settings.token_budget)
    return Run(model(), objective, objective, settings, folder, 0, torch.device("cpu"), dtype)


def dpo_objective(policy: PreTrainedModel, pairs: list[Pair], folder: Path,
                  settings: DPOSettings = DPO) -> DPOObjective:
    empty = DPOObjective(pairs, torch.zeros(len(pairs), 2), settings)
    batches = step_batches(empty, settings, seed=0)
    reference = reference_logps(policy, pairs, batches, settings.token_budget, "model",
                                folder / "reference.jsonl", torch.device("cpu"))
    return DPOObjective(pairs, reference, settings)


def dpo_run(folder: Path, pairs: list[Pair], dtype: torch.dtype = torch.float32) -> Run:
    policy = model()
    return Run(policy, dpo_objective(policy.to(dtype), pairs, folder), None, DPO, folder, 0,
               torch.device("cpu"), dtype)


def without_timing(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMING}
            for row in read_jsonl(folder / "metrics.jsonl")]


def test_training_lowers_the_loss_and_logs_step_0(tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    train(sft_run(tmp_path, sequences))
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


def test_one_batch_of_8_equals_4_micro_batches_of_2_token_weighted(
        tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    whole = sft_run(tmp_path / "a", sequences, replace(SFT, token_budget=4096))
    split = sft_run(tmp_path / "b", sequences,
                    replace(SFT, batch_size=2, accumulation=4, token_budget=21))
    assert_equal_gradients(first_gradients(whole), first_gradients(split))


def test_batch_32_equals_4_times_accumulation_8_for_pairs(tmp_path: Path,
                                                          pairs: list[Pair]) -> None:
    gradients = []
    for size, accumulation, budget in ((32, 1, 4096), (4, 8, 40)):
        settings = replace(DPO, batch_size=size, accumulation=accumulation, token_budget=budget)
        policy = model()
        objective = dpo_objective(policy, pairs, tmp_path / str(budget), settings)
        gradients.append(first_gradients(Run(policy, objective, None, settings, tmp_path, 0,
                                             torch.device("cpu"), torch.float32)))
    assert_equal_gradients(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dpo_starts_at_exactly_ln_2_with_margin_0(tmp_path: Path, pairs: list[Pair],
                                                  dtype: torch.dtype) -> None:
    run = dpo_run(tmp_path, pairs, dtype)
    row = next(iter(run.objective.rows(step_batches(run.objective, DPO, 0)[0], run.device)))
    loss, metrics = run.objective.loss(run.model, row)
    assert loss.item() / len(row.examples) == pytest.approx(math.log(2), abs=1e-7)
    assert metrics["rewards/margins"] == 0.0
    assert metrics["rewards/accuracies"] == 0.0


def test_a_live_reference_equals_the_cached_one(tmp_path: Path, pairs: list[Pair]) -> None:
    policy = model()
    cached = dpo_objective(policy, pairs, tmp_path).reference
    live = reference_logps(policy, pairs, [], 4096, "model", tmp_path / "other.jsonl",
                           torch.device("cpu"))
    torch.testing.assert_close(cached, live, atol=1e-4, rtol=0)


def test_the_reference_cache_goes_on_and_knows_when_it_is_stale(
        tmp_path: Path, pairs: list[Pair], capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "reference.jsonl"
    first = dpo_objective(model(), pairs, tmp_path).reference
    lines = cache.read_text().splitlines()
    cache.write_text("\n".join([*lines[:2], lines[2][:20]]))  # cut short while writing a line
    assert torch.equal(dpo_objective(model(), pairs, tmp_path).reference, first)
    reference_logps(model(), pairs, [], 60, "another model", cache, torch.device("cpu"))
    assert "computing it again" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_resumed_training_equals_uninterrupted_training_bit_by_bit(
        tmp_path: Path, sequences: list[SharedPrompt], pairs: list[Pair], kind: str) -> None:
    def make(folder: Path) -> Run:
        return sft_run(folder, sequences) if kind == "sft" else dpo_run(folder, pairs)
    whole = train(make(tmp_path / "whole"))
    cut = Loop(make(tmp_path / "cut"))
    apply, steps = cut._apply, []

    def killed() -> tuple[float, bool]:
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return apply()
    cut._apply = killed
    with pytest.raises(KeyboardInterrupt):
        cut.finish()
    resumed = train(make(tmp_path / "cut"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert without_timing(tmp_path / "whole") == without_timing(tmp_path / "cut")


def test_activation_checkpointing_recomputes_and_changes_no_gradient(
        tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    plain = first_gradients(sft_run(tmp_path, sequences))
    run = sft_run(tmp_path, sequences, replace(SFT, activation_checkpointing=True))
    run.model.gradient_checkpointing_enable({"use_reentrant": False})
    passes = []
    run.model.get_decoder().layers[0].mlp.register_forward_pre_hook(
        lambda *_: passes.append(1))
    again = first_gradients(run)
    rows = run.objective.rows(step_batches(run.objective, run.settings, 0)[0], run.device)
    assert len(passes) == 2 * len(rows)  # once forward, once more in the backward
    assert_equal_gradients(plain, again)


def test_lora_trains_through_the_same_loop(tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    run = sft_run(tmp_path, sequences)
    run.model = with_lora(run.model, rank=4, alpha=8)
    before = evaluate(run.model.eval(), run.objective, run.device)["loss"]
    state = train(run)
    assert all("lora" in name for name in state)
    assert evaluate(run.model, run.objective, run.device)["loss"] < before - 0.01


def test_two_equal_runs_give_equal_weights(tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    first = train(sft_run(tmp_path / "a", sequences, dtype=torch.bfloat16))
    second = train(sft_run(tmp_path / "b", sequences, dtype=torch.bfloat16))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
        tmp_path: Path, sequences: list[SharedPrompt], capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop(sft_run(tmp_path, sequences))
    loop.finish()
    folder = tmp_path / "checkpoints"
    for step in (2, 4):
        checkpoints.save_checkpoint(folder, step, loop.key, loop.weights, loop.optimizer,
                                    loop.scale, loop.counters, keep=5)
    for step in (4, 6):
        file = folder / f"step-{step}" / "masters.safetensors"
        file.write_bytes(file.read_bytes()[:100])
    assert checkpoints.latest_checkpoint(folder, loop.key).step == 2
    assert "masters.safetensors is damaged" in capsys.readouterr().out


def test_a_checkpoint_of_another_run_is_not_used(tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    train(sft_run(tmp_path, sequences))
    assert checkpoints.latest_checkpoint(tmp_path / "checkpoints", "another key") is None


def test_a_full_disk_leaves_the_previous_checkpoint_whole(
        tmp_path: Path, sequences: list[SharedPrompt], monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(sft_run(tmp_path, sequences))
    loop.finish()
    before = sorted((tmp_path / "checkpoints").iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(FileError, match="No space left.*previous one is intact"):
        checkpoints.save_checkpoint(tmp_path / "checkpoints", 99, loop.key, loop.weights,
                                    loop.optimizer, loop.scale, loop.counters, keep=1)
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


def test_a_loss_that_is_not_a_number_stops_with_step_rows_and_checkpoint(
        tmp_path: Path, sequences: list[SharedPrompt]) -> None:
    run = sft_run(tmp_path, sequences)
    with torch.no_grad():
        run.model.get_decoder().norm.weight.fill_(float("nan"))
    run.validation = None
    with pytest.raises(TrainingError, match=r"not a number at step 1, rows \[.*checkpoint: none"):
        train(run)


def test_lack_of_memory_names_the_knob(tmp_path: Path, sequences: list[SharedPrompt],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    run = sft_run(tmp_path, sequences)
    run.validation = None

    def starved(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
    monkeypatch.setattr(run.objective, "loss", starved)
    with pytest.raises(TrainingError, match=r"lower token_budget \(now 40\)"):
        train(run)


def test_a_row_longer_than_the_token_budget_is_refused(sequences: list[SharedPrompt],
                                                       pairs: list[Pair]) -> None:
    with pytest.raises(ValueError, match="more than token_budget=4"):
        SFTObjective(sequences, 4)
    objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), replace(DPO, token_budget=8))
    with pytest.raises(ValueError, match="pair 0/0 has 18 tokens, more than token_budget=8"):
        objective.rows([0], torch.device("cpu"))


def test_pairs_of_one_prompt_share_its_computation(pairs: list[Pair]) -> None:
    objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), replace(DPO, token_budget=4096))
    row, = objective.rows([1, 2], torch.device("cpu"))
    tokens = row.batch.answer_slices[-1][-1].stop
    assert tokens == 5 + 6 + 7 + 4  # prompt, best, worst, middle: each once
    assert objective.tokens([1, 2]) == 2 * (5 + 5) + 6 + 7 + 6 + 4


def test_shuffling_keeps_pairs_of_a_prompt_together_and_visits_each_once(pairs: list[Pair]) -> None:
    objective = DPOObjective(pairs, torch.zeros(len(pairs), 2), DPO)
    order = [i for batch in step_batches(objective, DPO, seed=3) for i in batch]
    assert sorted(order) == list(range(len(pairs)))
    assert order != list(range(len(pairs)))
    place = {example: n for n, example in enumerate(order)}
    for group in objective.groups:
        spots = [place[example] for example in group]
        assert max(spots) - min(spots) == len(group) - 1


def test_bf16_weights_move_at_a_learning_rate_that_bf16_alone_could_not_see() -> None:
    small = model()
    weights = MasterWeights(small, torch.bfloat16)
    name = "model.layers.0.mlp.up_proj.weight"
    before = weights.masters[name].clone()
    optimizer = torch.optim.AdamW(weights.masters.values(), lr=1e-6)
    for _ in range(3):
        small(torch.tensor([[5, 6, 7]]), layout=_one_row(3)).logits.float().sum().backward()
        optimizer.step()
    assert 0 < (weights.masters[name] - before).abs().max() < 1e-5


def _one_row(tokens: int):  # noqa: ANN202
    from lib.modeling.packed.packing import Layout, Span
    return Layout((Span(0, 0, (tokens,)),), tokens)


def test_an_overflow_in_fp16_skips_the_step_and_halves_the_scale() -> None:
    weights = MasterWeights(model(), torch.float16)
    scale = LossScale(True, scale=1024.0, growth_interval=2)
    master = next(iter(weights.masters.values()))
    master.grad = torch.full_like(master, float("inf"))
    assert not scale.unscale(weights)
    assert scale.scale == 512.0
    for _ in range(2):
        master.grad = torch.full_like(master, 512.0)
        assert scale.unscale(weights)
    assert scale.scale == 1024.0


def test_the_learning_rate_warms_up_and_decays() -> None:
    settings = SFTSettings(learning_rate=1.0, warmup_share=0.2)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(1 / 8)
    assert learning_rate(9, 10, replace(settings, schedule="constant")) == 1.0
    assert learning_rate(6, 10, replace(settings, schedule="cosine")) == pytest.approx(0.5)


def test_metrics_carry_trls_names(tmp_path: Path, pairs: list[Pair]) -> None:
    run = dpo_run(tmp_path, pairs)
    train(run)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
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


def test_word_gradients_added_directly_are_those_of_autograd(sequences: list[SharedPrompt]) -> None:
    gradients = []
    for direct in (True, False):
        policy, objective = model(), SFTObjective(sequences, 64)
        weights = MasterWeights(policy, torch.bfloat16)
        if not direct:
            set_master(policy.get_input_embeddings().weight, None)
        for row in objective.rows(range(len(sequences)), torch.device("cpu")):
            objective.loss(policy, row)[0].backward()
        gradients.append({name: master.grad for name, master in weights.masters.items()})
    for name, expected in gradients[1].items():
        error = (gradients[0][name] - expected).norm() / expected.norm()
        assert error < 0.01, name
