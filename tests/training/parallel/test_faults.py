"""What goes wrong between processes: a killed rank, a node that never joins, a job file."""

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lib.data.parquet import write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_sft
from lib.runtime.files import FileError, read_jsonl
from lib.training.__main__ import main
from lib.training.job import Job, ProbeMaker, read_job, write_job
from lib.training.parallel import launch
from lib.training.parallel.launch import launch_command, launch_job, reason_of
from lib.training.parallel.processes import ProcessError
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import train_sft
from tests.forked import process
from tests.training.parallel.distributed_cases import alone_of_two, free_port


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_parquet(load_sft(DataSettings(sft_rows=24), 0), tmp_path / "sft.parquet")
    settings = SFTSettings(learning_rate=1e-3, batch_size=8, token_budget=1024,
                           epochs=30, checkpoint_every=4)
    return Job("sft", "smoke", str(tmp_path / "sft.parquet"), str(tmp_path / "sft"),
               settings=settings, max_length=128, device="cpu", precision="float32")


def losses(folder: str) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_jsonl(Path(folder) / "metrics.jsonl")]


def kill_a_rank(folder: Path, deadline: float) -> None:
    """Send SIGKILL to one training process as soon as there is a checkpoint."""
    while not list(folder.glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ranks = [child for child in psutil.Process().children(recursive=True)
             if "lib.training" in child.cmdline() and "accelerate" not in " ".join(child.cmdline())]
    ranks[-1].kill()


@pytest.mark.slow
def test_killing_one_rank_ends_all_in_one_sentence_and_one_process_goes_on(
        job: Job, tmp_path: Path) -> None:
    killer = threading.Thread(target=kill_a_rank,
                              args=(Path(job.folder), time.monotonic() + 120), daemon=True)
    killer.start()
    with pytest.raises(ProcessError) as error:
        launch_job(job, processes=2)
    assert str(error.value) == (
        f"a process that trained {job.folder} was killed (signal 9), and all were stopped; start "
        "again, with any number of processes, to resume from the newest checkpoint")
    train_sft(job)
    whole = replace(job, folder=str(tmp_path / "whole"))
    train_sft(whole)
    assert (Path(job.folder) / "model" / "model.safetensors").exists()
    ours, theirs = losses(job.folder), losses(whole.folder)
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    assert [loss for _, loss in ours] == pytest.approx([loss for _, loss in theirs], rel=1e-4)


@pytest.mark.slow
def test_the_processes_of_a_killed_notebook_end_with_it(job: Job) -> None:
    endless = replace(job, settings=replace(job.settings, epochs=10_000))
    started, deadline = process(launch_job, endless, 2), time.monotonic() + 120
    while not list(Path(job.folder).glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    at_work = psutil.Process(started.pid).children(recursive=True)
    assert len(at_work) >= 3  # the launcher and its ranks
    started.kill()
    started.join()
    assert psutil.wait_procs(at_work, timeout=60)[1] == []


def test_an_interrupted_cell_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt
    monkeypatch.setattr(launch, "print", interrupted, raising=False)
    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt):
        launch.launch([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"],
                      1, "trained", "the newest checkpoint")
    assert set(psutil.Process().children()) <= set(before)


@pytest.mark.slow
def test_a_node_that_never_joins_is_one_sentence_after_the_time_out(job: Job,
                                                                   tmp_path: Path) -> None:
    write_job(job, tmp_path / "job.json")
    port, output = free_port(), tmp_path / "stderr.txt"
    lonely = process(alone_of_two, str(tmp_path / "job.json"), port, 2.0, output)
    lonely.join(timeout=60)
    assert lonely.exitcode == 2
    line, = [line for line in output.read_text().splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: not all 2 processes met at 127.0.0.1:{port} within 2 s")
    assert line.endswith("start the missing ones at the same time, or check the address and the "
                         "firewall")


def test_a_failing_ranks_own_sentence_is_the_one_that_is_shown() -> None:
    errors = ("error: process 1 of 2 lost another one (Connection closed by peer); start again\n"
              "error: the loss is not a number at step 3\n  exitcode  : -15 (pid: 7)\n")
    assert reason_of(errors, "trained x", "y") == "the loss is not a number at step 3"
    errors = "[rank1]: TypeError: no such thing\n  exitcode  : 1 (pid: 7)\n"
    assert reason_of(errors, "trained x", "y") == "no such thing"
    assert "was killed (signal 9)" in reason_of("  exitcode  : -9 (pid: 7)\n", "trained x", "y")
    lost = "process 1 of 2 lost another one (closed by peer); start again"
    assert reason_of(f"error: {lost}\n", "trained x", "y") == lost
    assert "run its command by hand to see why" in reason_of("no word", "trained x", "y")


def test_a_machine_that_never_comes_is_one_sentence_of_the_launcher() -> None:
    errors = ("Traceback (most recent call last):\n  ...\ntorch.distributed.DistStoreError: Timed "
              "out after 26 seconds waiting for clients. 1/2 clients joined.\n")
    assert reason_of(errors, "trained x", "y") == (
        "1 of 2 machines joined; start the others at the same time, or check main_process_ip and "
        "the firewall")


def test_the_command_line_names_copies_shards_or_a_configuration_file() -> None:
    path = Path("job.json")
    assert "--multi_gpu" in launch_command("lib.training", path, 4)
    assert "--use_fsdp" in launch_command("lib.training", path, 4, sharded=True)
    command = launch_command("lib.training", path, 1, config_file="cluster.yaml")
    assert command[3:7] == ["--config_file", "cluster.yaml", "--rdzv_conf", "timeout=25"]
    assert command[-4:] == ["-m", "lib.training", "--config", "job.json"]


def silence(options: dict, tokenizer: object) -> None:
    """The maker of no probe."""


def test_a_job_and_its_probe_are_the_same_after_writing_and_reading(job: Job,
                                                                    tmp_path: Path) -> None:
    probe = ProbeMaker(silence, {"n": 3})
    for one, made in ((job, None),
                      (replace(job, method="dpo", settings=DPOSettings(beta=0.2)), probe)):
        write_job(one, tmp_path / "job.json", made)
        assert read_job(tmp_path / "job.json") == (one, made)


SMALLEST = {"method": "sft", "model": "smoke", "rows": "r", "folder": "f"}


@pytest.mark.parametrize(("values", "message"), [
    ({"method": "ppo"}, "is no training job; give method: sft or dpo or"),
    (SMALLEST | {"modle": "smoke"}, "unknown setting modle; did you mean model?"),
    ({"method": "sft", "model": "smoke"}, "rows is missing"),
    (SMALLEST | {"settings": {"beta": 1}}, "unknown setting beta"),
    (SMALLEST | {"settings": {"compile": True}}, "unknown setting compile"),
    (SMALLEST | {"settings": {"accumulation": 8}},
     "accumulation is 8, which is part of batch_size now; set batch_size to the examples behind"),
    (SMALLEST | {"settings": {"epochs": "many"}}, "epochs is 'many'; use a number above 0"),
    (SMALLEST | {"attention": "flash"}, "attention is 'flash'; use one of auto, segments, flex"),
    (SMALLEST | {"method": "dpo", "settings": {"beta": -1}}, "beta is -1; use a number above 0"),
])
def test_a_job_that_cannot_be_used_is_one_sentence(
        tmp_path: Path, values: dict, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(values))
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_number_that_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("{method: sft, model: m, rows: r, folder: f, settings: {learning_rate: 1e-5}}")
    assert read_job(path)[0].settings.learning_rate == 1e-5


def test_a_job_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read job .*none.yaml"):
        read_job(tmp_path / "none.yaml")
