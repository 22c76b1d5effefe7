"""Killed with -9 in the middle of a stage and started again, a run ends with the same files."""

import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from lib.runtime.files import sha256_of
from lib.study.run import open_study
from lib.study.stages.data import prepare_data
from lib.study.stages.dpo import train_dpo
from lib.study.stages.responses import sample_and_select
from lib.study.stages.sft import train_sft
from tests.forked import process

pytestmark = pytest.mark.slow
SETTINGS = {"evaluation.probe_prompts": 0, "sft.epochs": 6.0, "dpo.epochs": 6.0,
            "sampling.rows": 4, "sampling.max_new_tokens": 40}
RESULTS = ("sft/model/model.safetensors", "dpo/model/model.safetensors",
           "responses/dpo+bon4@0.6.jsonl", "responses/base.jsonl")


def run_study(run: Path, said: Path) -> None:
    """From the data to the answers, in a process of its own; what it says goes to a file."""
    torch.set_num_threads(1)
    with said.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    study = open_study("smoke", str(run), SETTINGS)
    prepare_data(study)
    train_sft(study)
    train_dpo(study)
    sample_and_select(study)


def start(run: Path) -> BaseProcess:
    return process(run_study, run, run.with_suffix(".txt"))


def finish(run: Path) -> None:
    started = start(run)
    started.join(timeout=200)
    assert started.exitcode == 0, run.with_suffix(".txt").read_text()[-1500:]


def kill_when(run: Path, pattern: str) -> None:
    """Start the study and send SIGKILL as soon as a file that matches is there."""
    started = start(run)
    deadline = time.monotonic() + 120
    while started.is_alive() and not list(run.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.01)
    assert started.is_alive(), f"it ended before {pattern} was seen"
    started.kill()
    started.join()


def test_a_study_killed_in_every_stage_ends_with_the_same_files(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(whole)
    for pattern in ("sft/checkpoints/step-2", "dpo/reference_training.jsonl",
                    "dpo/checkpoints/step-4", "responses/pools/*.partial.jsonl"):
        kill_when(cut, pattern)
    finish(cut)
    for name in RESULTS:
        assert sha256_of(whole / name) == sha256_of(cut / name), name
