"""Two losses in one step: gradients that add up, steps in proportion, metrics of each part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.runtime.files import read_jsonl
from lib.training.loop import Loop, train
from lib.training.objective import Objective, step_batches
from lib.training.on_policy.summed import SummedObjective, interleave, own_examples, ranges_of
from tests.training.small_runs import CPU, RLOO, dpo_objective, model, policy_objective, run_of

WEIGHT = 0.5


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, tuple[Objective, float]]:
    policy = model()
    return {"dpo": (dpo_objective(policy, tmp_path), 1.0),
            "policy": (policy_objective(policy), WEIGHT)}


def gradients(objective: Objective, examples: Sequence[int]) -> dict[str, torch.Tensor]:
    """Gradients of a step of the training loop over the examples."""
    policy = model()
    for row in objective.rows(examples, CPU):
        (objective.loss(policy, row)[0] / objective.weight(examples)).backward()
    return {name: parameter.grad for name, parameter in policy.named_parameters()}


def everything(objective: Objective) -> list[int]:
    return [example for group in objective.groups for example in group]


def test_the_gradients_of_both_losses_add_up_in_one_step(parts: dict) -> None:
    both = SummedObjective(parts)
    ours = gradients(both, everything(both))
    each = [gradients(part, everything(part)) for part, _ in parts.values()]
    for name, grad in ours.items():
        expected = each[0][name] + WEIGHT * each[1][name]
        assert (grad - expected).norm() <= 1e-4 * expected.norm() + 1e-8, name
        assert float(each[1][name].norm()) > 0


def test_answers_of_weight_0_leave_dpo_alone(parts: dict) -> None:
    both = SummedObjective(parts | {"policy": (parts["policy"][0], 0.0)})
    ours, dpo = gradients(both, everything(both)), gradients(parts["dpo"][0], range(18))
    for name, grad in dpo.items():
        torch.testing.assert_close(ours[name], grad, rtol=1e-4, atol=1e-7)


def test_every_step_holds_both_in_the_proportion_of_the_whole(parts: dict) -> None:
    both = SummedObjective(parts)
    assert sorted(everything(both)) == list(range(18 + 30))
    assert len(both.groups) == 10
    for group in both.groups:
        own = own_examples(group, both.ranges)
        assert len(own["policy"]) == 3
        assert 1 <= len(own["dpo"]) <= 4


def test_steps_average_to_the_whole_loss(parts: dict) -> None:
    """Over an epoch, each step weighted by its examples: no part counts more than it should."""
    both, policy = SummedObjective(parts), model()

    def loss(examples: Sequence[int]) -> float:
        with torch.no_grad():
            return sum(float(both.loss(policy, row)[0]) for row in both.rows(examples, CPU))
    steps = step_batches(both.groups, replace(RLOO, epochs=1), 0)
    whole = everything(both)
    assert sum(map(loss, steps)) == pytest.approx(loss(whole) / both.weight(whole), rel=1e-4)
    assert sum(map(both.weight, steps)) == pytest.approx(1)


def test_groups_are_dealt_out_evenly_and_numbered_on() -> None:
    groups = {"a": [[0, 1], [2], [3]], "b": [[0], [1]]}
    assert interleave(groups) == [[0, 1, 3, 4], [2, 5]]
    assert own_examples([3, 5, 2], ranges_of(groups)) == {"a": [3, 2], "b": [1]}


def test_the_log_has_each_parts_loss_and_metrics(tmp_path: Path) -> None:
    train(run_of("dpo_plus_rloo", tmp_path))
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    first = next(row for row in rows if row["split"] == "validation")
    assert first["loss/dpo"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["rewards/accuracies"] == 0.0
    assert first["loss"] == pytest.approx(first["loss/dpo"] + WEIGHT * first["loss/policy"])
    assert first["effective_samples"] == pytest.approx(1)
    last = [row for row in rows if row["split"] == "validation"][-1]
    assert last["loss/dpo"] < first["loss/dpo"]
    assert last["loss/policy"] < first["loss/policy"]
    assert last["effective_samples"] < 1


def test_a_resumed_run_of_both_equals_an_uninterrupted_one_bit_by_bit(tmp_path: Path) -> None:
    whole = train(run_of("dpo_plus_rloo", tmp_path / "whole"))
    cut = Loop(run_of("dpo_plus_rloo", tmp_path / "cut"))
    apply, steps = cut._apply, []

    def killed() -> tuple[float, bool]:
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return apply()
    cut._apply = killed
    with pytest.raises(KeyboardInterrupt):
        cut.finish()
    resumed = train(run_of("dpo_plus_rloo", tmp_path / "cut"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
