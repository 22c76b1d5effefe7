"""Checkpoints: a run that goes on equals one that was never cut short, and a fault costs one."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from lib.runtime.files import FileError, read_jsonl
from lib.training.engine import checkpoints
from lib.training.loop import Loop, Run, train
from tests.training.test_loop import dpo_run, sft_run

TIMING = {"tokens_per_second", "seconds", "peak_memory_gb"}


def without_timing(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMING}
            for row in read_jsonl(folder / "metrics.jsonl")]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_resumed_training_equals_uninterrupted_training_bit_by_bit(
        tmp_path: Path, kind: str) -> None:
    def make(folder: Path) -> Run:
        return sft_run(folder) if kind == "sft" else dpo_run(folder)
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


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop(sft_run(tmp_path))
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


def test_a_checkpoint_of_another_run_is_not_used(tmp_path: Path) -> None:
    loop = Loop(sft_run(tmp_path))
    loop.finish()
    assert checkpoints.latest_checkpoint(tmp_path / "checkpoints", loop.key).step == 6
    assert checkpoints.latest_checkpoint(tmp_path / "checkpoints", "another key") is None


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")])
def test_a_full_disk_leaves_the_previous_checkpoint_whole(
        error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(sft_run(tmp_path))
    loop.finish()
    before = sorted((tmp_path / "checkpoints").iterdir())
    assert before

    def full(*_: object) -> None:
        raise error
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(FileError, match="No space left.*previous one is intact"):
        checkpoints.save_checkpoint(tmp_path / "checkpoints", 99, loop.key, loop.weights,
                                    loop.optimizer, loop.scale, loop.counters, keep=1)
    assert sorted((tmp_path / "checkpoints").iterdir()) == before
