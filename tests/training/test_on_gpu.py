"""Training on a GPU: the curve of the CPU, resumed runs with the same bits, float16's overflows."""

from pathlib import Path

import pytest
import torch

from lib.runtime.devices import choose_device, memory_gb, peak_memory_gb
from lib.runtime.files import read_jsonl
from lib.training.loop import Loop
from tests.training.small_runs import METHODS, Interrupted, finish, run_of

pytestmark = [pytest.mark.cuda,
              pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
GPU = torch.device("cuda")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(folder / "metrics.jsonl") if row["split"] == "train"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dtype", "close"), zip(DTYPES, (1e-3, 0.03, 0.02), strict=True))
def test_a_gpu_trains_the_curve_of_the_cpu(method: str, dtype: torch.dtype, close: float,
                                           tmp_path: Path) -> None:
    finish(run_of(method, tmp_path / "cpu"))
    finish(run_of(method, tmp_path / "gpu", dtype=dtype, device=GPU))
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=close)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_resumed_run_ends_with_the_bits_of_one_that_never_stopped(
        method: str, dtype: torch.dtype, tmp_path: Path) -> None:
    whole = finish(run_of(method, tmp_path / "whole", dtype=dtype, device=GPU))
    with pytest.raises(Interrupted):
        finish(run_of(method, tmp_path / "cut", dtype=dtype, device=GPU), cut_at=3)
    resumed = finish(run_of(method, tmp_path / "cut", dtype=dtype, device=GPU))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_of_float16_costs_one_step(method: str, tmp_path: Path) -> None:
    loop = Loop(run_of(method, tmp_path, dtype=torch.float16, device=GPU))
    loop.scale.scale = 2.0**40
    before = {name: master.clone() for name, master in loop.weights.masters.items()}
    assert loop._optimizer_step(loop.batches[0])["skipped"] == 1.0
    assert loop.scale.scale == 2.0**39
    assert all(torch.equal(before[name], master) for name, master in loop.weights.masters.items())


def test_the_gpu_is_chosen_with_the_precision_that_it_has() -> None:
    chosen = choose_device()
    native = torch.cuda.get_device_capability()[0] >= 8
    assert (chosen.device.type, chosen.dtype) == (
        "cuda", torch.bfloat16 if native else torch.float16)
    assert torch.cuda.get_device_name() in chosen.reason
    torch.zeros(2**20, device="cuda")
    assert 4e-3 < peak_memory_gb(chosen.device) < memory_gb(chosen.device)
