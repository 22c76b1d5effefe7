"""Processes that have joined, seen from one of them: gradients, devices, and a lost neighbour."""

import json
from pathlib import Path

import pytest
import torch

from lib.training import __main__ as command
from lib.training.parallel import processes
from lib.training.parallel.processes import JoinedProcesses, join, lost_another
from lib.training.processes import ALONE

CLOSED = "Connection closed by peer [127.0.0.1]:4711"


@pytest.mark.parametrize("most", [1, 5, 12, 13, 100])
def test_every_gradient_is_added_up_once_however_many_are_sent_together(
        most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    def both_ranks(flat: torch.Tensor) -> None:
        sent.append(flat.numel())
        flat *= 2  # the other rank has the same
    monkeypatch.setattr(processes, "BUCKET_ELEMENTS", most)
    monkeypatch.setattr(processes.dist, "all_reduce", both_ranks)
    masters = [torch.zeros(3, 4), torch.zeros(1), torch.zeros(5), torch.zeros(2, 2)]
    for place, master in enumerate(masters[:3]):
        master.grad = torch.arange(master.numel(), dtype=torch.float32).view_as(master) + place
    JoinedProcesses(0, 2).add_gradients(masters)
    for place, master in enumerate(masters[:3]):
        expected = torch.arange(master.numel(), dtype=torch.float32).view_as(master) + place
        assert master.grad.equal(2 * expected)
    assert masters[3].grad.equal(torch.zeros(2, 2))  # this rank had no row for it
    assert sum(sent) == 22
    assert all(size <= most or size in (12, 1, 5, 4) for size in sent)


def test_a_process_takes_the_gpu_of_its_number_on_its_machine(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    joined = JoinedProcesses(11, 16)
    assert joined.local_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert joined.local_device(torch.device("cpu")) == torch.device("cpu")


def test_a_process_that_no_launcher_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join(cpu=True) is ALONE


@pytest.mark.parametrize(("error", "lost"), [
    (CLOSED, True), ("[gloo/transport/tcp/pair.cc:534] Read error", True),
    ("NCCL communicator was aborted on rank 1.", True), ("recv: Connection reset by peer", True),
    ("Timed out waiting 1800000ms for recv operation to complete", True),
    ("process 1 of 2 lost another one", True), ("the loss is not a number at step 3", False),
    ("CUDA out of memory. Tried to allocate 20 MiB", False)])
def test_the_end_of_another_process_is_told_from_a_fault_of_this_one(
        error: str, lost: bool) -> None:
    assert lost_another(error) == lost


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"method": "sft", "model": "smoke", "rows": "r", "folder": "f"}))
    return str(path)


def fail_in_training(error: Exception, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of rank 0 of `count` fails with an error."""
    def train(*_: object) -> None:
        raise error
    monkeypatch.setitem(command.TRAIN, "sft", train)
    monkeypatch.setattr(command, "join", lambda *_: JoinedProcesses(0, count) if count > 1
                        else ALONE)


def test_a_lost_neighbour_is_one_sentence_that_says_how_to_go_on(
        config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_in_training(RuntimeError(f"{CLOSED}\nand a trace"), 2, monkeypatch)
    assert command.main(["--config", config]) == 2
    assert capsys.readouterr().err == (
        f"error: process 0 of 2 lost another one ({CLOSED}); start again, with any number of "
        "processes, to resume from the newest checkpoint in f/checkpoints\n")


@pytest.mark.parametrize(("error", "count"), [("no kernel for this shape", 2), (CLOSED, 1)])
def test_a_fault_of_this_process_is_not_laid_on_another(
        error: str, count: int, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in_training(RuntimeError(error), count, monkeypatch)
    with pytest.raises(RuntimeError, match=f"^{error[:20]}"):
        command.main(["--config", config])
