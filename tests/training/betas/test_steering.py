"""A beta that changes while training: its pairs, its log, its checkpoints, its processes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.runtime.files import read_jsonl
from lib.training.betas.formulas import RunningMoments, dynamic_beta
from lib.training.betas.steering import Steering, steering_of
from lib.training.loop import Loop, Run, train
from lib.training.processes import Processes
from lib.training.settings import LOSS_SETTINGS, DPOSettings
from tests.training.small_runs import DPO, Interrupted, dpo_objective, finish, run_of

BETA_DPO = DPOSettings(loss="beta_dpo", learning_rate=1e-2, batch_size=5, token_budget=60,
                       epochs=2, checkpoint_every=1)
KL = replace(DPO, kl_target=0.5, learning_rate=1e-2)


def steered(folder: Path, settings: DPOSettings, kl: float | None = None) -> Run:
    """A run whose probe says that the policy is `kl` nats an answer from the reference."""
    run = run_of("dpo", folder, settings=settings)
    run.steering = run.objective.steering = steering_of(settings)
    if run.validation is run.objective:
        run.validation = dpo_objective(run.model, folder, settings)
    if kl is not None:
        run.probe = lambda model, step: {"kl": kl * step, "n": 4}
    return run


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(folder / "metrics.jsonl") if row["split"] == split]


def test_only_a_beta_that_changes_is_steered() -> None:
    assert [loss for loss in LOSS_SETTINGS if steering_of(DPOSettings(loss=loss))] == ["beta_dpo"]
    assert steering_of(KL).beta == 0.1


def test_a_step_of_beta_dpo_has_the_beta_of_its_kept_pairs() -> None:
    steering, gaps = Steering(BETA_DPO), {7: 2.0, 3: -1.0, 8: 4.0, 1: 0.5, 2: 1.0}
    kept = steering.begin_step(list(gaps), lambda examples: gaps, np.random.default_rng(0))
    assert len(kept) == 4
    assert set(kept) < set(gaps)
    assert steering.beta == pytest.approx(dynamic_beta(
        0.1, np.mean([gaps[i] for i in kept]), np.mean(list(gaps.values())), 0.6))
    second = {9: 5.0, 4: 5.0}
    steering.begin_step(list(second), lambda examples: second, np.random.default_rng(0))
    assert steering.moments.debiased().mean == pytest.approx((0.9 * 1.3 + 5.0) / 1.9)


def test_training_with_beta_dpo_logs_its_beta_and_keeps_its_share_of_pairs(tmp_path: Path) -> None:
    run, seen = steered(tmp_path, BETA_DPO), []
    weight = run.objective.weight
    run.objective.weight = lambda examples: seen.append(len(examples)) or weight(examples)
    train(run)
    rows = rows_of(tmp_path, "train")
    assert rows[0]["beta"] == 0.1  # policy = reference: all gaps are 0
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert len({row["beta"] for row in rows}) > 3
    assert all(row["beta"] >= 1e-3 and math.isfinite(row["running_gap"]) for row in rows)
    assert set(seen) == {4, 2}  # of five pairs, and of the epoch's last three
    held = rows_of(tmp_path, "validation")
    assert held[-1]["loss"] < held[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("settings", [BETA_DPO, KL, replace(BETA_DPO, kl_target=0.5,
                                                            evaluate_every=2)])
@pytest.mark.parametrize("cut_at", [3, 4, 5])
def test_a_resumed_run_has_the_betas_of_one_that_never_stopped(
        tmp_path: Path, settings: DPOSettings, cut_at: int) -> None:
    settings = replace(settings, checkpoint_every=1)
    whole = finish(steered(tmp_path / "whole", settings, kl=0.3))
    with pytest.raises(Interrupted):
        finish(steered(tmp_path / "cut", settings, kl=0.3), cut_at)
    again = finish(steered(tmp_path / "cut", settings, kl=0.3))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    for split in ("train", "samples"):
        first, second = ([row["beta"] for row in rows_of(tmp_path / name, split)]
                         for name in ("whole", "cut"))
        assert first == second


def test_a_beta_follows_the_measured_kl_towards_its_target(tmp_path: Path) -> None:
    train(steered(tmp_path / "far", KL, kl=100.0))
    betas = [row["beta"] for row in rows_of(tmp_path / "far", "samples")]
    assert betas[0] == 0.1  # at step 0 no pair was trained on
    assert betas[1] == pytest.approx(0.12)
    assert betas == sorted(betas)
    train(steered(tmp_path / "near", KL, kl=0.0))
    betas = [row["beta"] for row in rows_of(tmp_path / "near", "samples")]
    assert betas == sorted(betas, reverse=True)
    rows = rows_of(tmp_path / "near", "train")
    assert [row["beta"] for row in rows][:4] == [0.1, 0.1, pytest.approx(0.08), pytest.approx(0.08)]


def test_a_steered_beta_reaches_the_loss_but_not_the_validation(tmp_path: Path) -> None:
    run = steered(tmp_path, KL)
    row = run.objective.rows([0, 1], run.device)[0]
    run.objective.reference -= torch.tensor([[1.0, 0.0]])
    before = run.objective.loss(run.model, row)[0].item()
    run.steering.beta = 0.2
    assert run.objective.loss(run.model, row)[0].item() < before - 0.01
    assert run.validation.steering is None


@pytest.mark.parametrize("probe", [None, lambda model, step: {"judge_score": 1.0},
                                   lambda model, step: {"kl": None}])
def test_a_kl_target_without_a_measured_kl_stops_before_the_first_step(
        tmp_path: Path, probe: Any) -> None:
    run = steered(tmp_path, KL)
    run.probe = probe
    with pytest.raises(ValueError, match=r"kl_target is 0.5, but the probe measured no KL; .*1$"):
        train(run)
    assert rows_of(tmp_path, "train") == []


def test_states_go_through_json_unchanged() -> None:
    steering = Steering(BETA_DPO)
    steering.begin_step([0, 1, 2], lambda _: {0: 1.0, 1: 0.1, 2: 3.0}, np.random.default_rng(0))
    other = Steering(BETA_DPO)
    other.restore(steering.state())
    assert other.state() == steering.state()
    assert isinstance(other.moments, RunningMoments)


def test_a_loop_measures_the_gaps_of_exactly_its_steps_pairs(tmp_path: Path) -> None:
    loop = Loop(steered(tmp_path, BETA_DPO))
    loop.run.objective.reference -= torch.arange(36).view(18, 2).float()
    gaps = loop._gaps([3, 5, 11])
    assert gaps == pytest.approx({3: -1.0, 5: -1.0, 11: -1.0}, abs=1e-4)


def test_processes_measure_each_their_part_and_all_know_every_gap(tmp_path: Path) -> None:
    examples, parts = list(range(18)), []

    class Part(Processes):
        """One of two processes, which hands in its gaps."""

        def gather(self, value: Any) -> list[Any]:
            """What this process found."""
            parts.append(value)
            return [value]
    loop = Loop(steered(tmp_path, BETA_DPO))
    loop.run.objective.reference -= torch.arange(36).view(18, 2).float() ** 2
    whole = loop._gaps(examples)
    for rank in (0, 1):
        loop.processes = Part(rank=rank, count=2)
        loop._gaps(examples)
    assert not parts[0].keys() & parts[1].keys()
    assert parts[0] | parts[1] == pytest.approx(whole, abs=1e-3)
    assert sorted(whole) == examples
