"""float16 through the whole loop on CPU: an overflow costs one step and nothing else."""

import copy
from pathlib import Path

import pytest
import torch

from lib.runtime.files import read_json, read_jsonl
from lib.training.loop import Loop, train
from tests.training.small_runs import METHODS, Interrupted, finish, run_of

HUGE = 2.0**40  # a loss times this has gradients beyond float16's 65,504


def float16_loop(method: str, folder: Path) -> Loop:
    return Loop(run_of(method, folder, dtype=torch.float16))


def state_of(loop: Loop) -> list[torch.Tensor]:
    """Masters, rounded weights, and all that AdamW keeps, its step counts included."""
    moments = [value for state in loop.optimizer.state.values() for value in state.values()]
    return copy.deepcopy([*loop.weights.masters.values(), *loop.run.model.parameters(), *moments])


def assert_same(before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    assert len(before) == len(after)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_halves_the_scale_leaves_the_step_out_and_training_goes_on(
        method: str, tmp_path: Path) -> None:
    loop = float16_loop(method, tmp_path)
    assert loop._optimizer_step(loop.batches[0])["skipped"] == 0.0
    usual, loop.scale.scale = loop.scale.scale, HUGE
    before = state_of(loop)
    skipped = loop._optimizer_step(loop.batches[1])
    assert (skipped["skipped"], skipped["grad_norm"]) == (1.0, 0.0)
    assert loop.scale.scale == HUGE / 2
    assert_same(before, state_of(loop))
    loop.scale.scale = usual
    again = loop._optimizer_step(loop.batches[1])
    assert again["skipped"] == 0.0
    assert again["loss"] == skipped["loss"]  # nothing had moved
    assert not torch.equal(before[0], next(iter(loop.weights.masters.values())))


def overflow_in_step(loop: Loop, step: int) -> None:
    """Raise the scale for one step, so that its gradients overflow by themselves."""
    unchanged = loop._optimizer_step

    def overflowing(examples: list[int]) -> dict[str, float]:
        if loop.step == step:
            loop.scale.scale = HUGE
        return unchanged(examples)
    loop._optimizer_step = overflowing


@pytest.mark.parametrize("method", METHODS)
def test_a_run_with_an_overflow_resumes_with_its_scale_and_ends_as_if_never_cut(
        method: str, tmp_path: Path) -> None:
    whole = float16_loop(method, tmp_path / "whole")
    overflow_in_step(whole, 1)
    whole.finish()
    rows = [row for row in read_jsonl(tmp_path / "whole" / "metrics.jsonl")
            if row["split"] == "train"]
    skipped = [row["step"] for row in rows if row["skipped"]]
    assert skipped[0] == 2
    assert skipped == list(range(2, 2 + len(skipped)))  # until the scale fits again
    assert whole.scale.scale == HUGE / 2 ** len(skipped)

    cut = float16_loop(method, tmp_path / "cut")
    overflow_in_step(cut, 1)
    step = cut._optimizer_step

    def killed(examples: list[int]) -> dict[str, float]:
        if cut.step == 3:
            raise Interrupted
        return step(examples)
    cut._optimizer_step = killed
    with pytest.raises(Interrupted):
        cut.finish()
    saved = read_json(tmp_path / "cut" / "checkpoints" / "step-2" / "checkpoint.json")
    assert saved["scale"] == HUGE / 2
    resumed = train(run_of(method, tmp_path / "cut", dtype=torch.float16))
    theirs = whole.state_dict()
    assert all(torch.equal(resumed[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("method", METHODS)
def test_float16_trains_the_curve_of_float32(method: str, tmp_path: Path) -> None:
    finish(run_of(method, tmp_path / "half", dtype=torch.float16))
    finish(run_of(method, tmp_path / "full"))
    half, full = ([row["loss"] for row in read_jsonl(tmp_path / name / "metrics.jsonl")
                   if row["split"] == "train"] for name in ("half", "full"))
    assert half == pytest.approx(full, rel=0.02)
