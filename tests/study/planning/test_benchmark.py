"""The warm-up benchmark: a small model of the run's shape, once a machine."""

import re
from pathlib import Path

import pytest
import torch

from lib.runtime.devices import Device
from lib.study.planning import benchmark
from lib.study.planning.benchmark import measured_rates, smaller
from lib.study.planning.memory import SHAPES, Shape

CPU = Device(torch.device("cpu"), torch.float32, "cpu")
RATES = {"training": 1e11, "updating": 1e9, "reading": 2e11, "sampling": 5e10}


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """The shapes that were measured, on a machine without other work, with a cache of its own."""
    shapes: list[Shape] = []
    monkeypatch.setattr(benchmark, "kept", lambda name: tmp_path / name)
    monkeypatch.setattr(benchmark, "used_by_others", lambda: 0.0)
    monkeypatch.setattr(benchmark, "_measured",
                        lambda shape, *_: shapes.append(shape) or dict(RATES))
    return shapes


def test_a_machine_is_measured_once_and_says_when(counted: list[Shape]) -> None:
    first, second = (measured_rates(SHAPES["packaged"], CPU, 64) for _ in range(2))
    assert len(counted) == 1
    assert first.training == second.training == 1e11
    assert "measured here just now in" in first.origin
    assert "measured here on 2" in second.origin


@pytest.mark.parametrize("change", ["shape", "rows", "dtype", "machine", "code"])
def test_another_model_machine_or_code_is_measured_anew(
        change: str, counted: list[Shape], monkeypatch: pytest.MonkeyPatch) -> None:
    measured_rates(SHAPES["packaged"], CPU, 64)
    if change == "machine":
        monkeypatch.setattr(benchmark, "machine_name", lambda _: "another, 2 threads")
    if change == "code":
        monkeypatch.setattr(benchmark, "code_hash", lambda *_: "changed")
    device = Device(CPU.device, torch.bfloat16, "cpu") if change == "dtype" else CPU
    measured_rates(SHAPES["gemma" if change == "shape" else "packaged"], device,
                   32 if change == "rows" else 64)
    assert len(counted) == 2


def test_rates_of_a_busy_machine_are_said_to_be_so_and_not_kept(
        counted: list[Shape], monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter(range(0, 10**9, 10**6))  # processor seconds: a million at every look
    monkeypatch.setattr(benchmark, "used_by_others", lambda: float(next(others)))
    rates = [measured_rates(SHAPES["packaged"], CPU, 64) for _ in range(2)]
    assert len(counted) == 2
    assert re.search(r"while other programs took \d+% of this machine", rates[1].origin)


@pytest.mark.parametrize("name", SHAPES)
def test_the_measured_model_is_small_and_as_wide_as_the_runs(name: str) -> None:
    shape = SHAPES[name]
    small = smaller(shape)
    assert (small.width, small.intermediate, small.heads) == (
        shape.width, shape.intermediate, shape.heads)
    assert 1 <= small.layers <= shape.layers
    assert small.parameters < 60e6 + shape.layer_parameters


@pytest.mark.parametrize("shape", [
    SHAPES["smoke"], Shape(2, 64, 128, 4, 3, 99), Shape(1, 66, 128, 1, 1, 512),
    Shape(3, 63, 128, 7, 1, 128, tied=False), Shape(2, 64, 128, 4, 1, 512, head_width=32)],
    ids=["smoke", "heads that do not divide", "one head", "odd heads", "wide heads"])
def test_models_of_unusual_shape_are_measured(shape: Shape,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SECONDS", 0.0)
    rates = benchmark._measured(smaller(shape), CPU, 4)
    assert rates.keys() == RATES.keys()
    assert all(rate > 0 for rate in rates.values())


def test_measuring_leaves_the_random_numbers_of_the_program_alone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SECONDS", 0.0)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    benchmark._measured(smaller(SHAPES["smoke"]), CPU, 4)
    assert torch.equal(torch.get_rng_state(), before)
