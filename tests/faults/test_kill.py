"""Killed with -9 in the middle of a stage and started again, a run ends with the same files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import ROOT
from lib.runtime.files import sha256_of

pytestmark = pytest.mark.slow
SETTINGS = '{"evaluation.probe_prompts": 0, "sft.epochs": 6.0, "dpo.epochs": 6.0, ' \
           '"sampling.rows": 4, "sampling.max_new_tokens": 40}'
SCRIPT = f"""
import sys
from lib.study.run import open_study
from lib.study.stages.data import prepare_data
from lib.study.stages.sft import train_sft
from lib.study.stages.dpo import train_dpo
from lib.study.stages.responses import sample_and_select
study = open_study("smoke", sys.argv[1], {SETTINGS})
prepare_data(study); train_sft(study); train_dpo(study); sample_and_select(study)
"""
RESULTS = ("sft/model/model.safetensors", "dpo/model/model.safetensors",
           "responses/dpo+bon4@0.6.jsonl", "responses/base.jsonl")


def start(run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(run)], cwd=ROOT,
                            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_when(run: Path, pattern: str) -> None:
    """Start the study and send SIGKILL as soon as a file that matches is there."""
    process = start(run)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(run.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.01)
    assert process.poll() is None, f"it ended before {pattern} was seen"
    process.kill()
    process.wait()


def test_a_study_killed_in_every_stage_ends_with_the_same_files(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    uninterrupted = start(whole)
    assert uninterrupted.wait(timeout=200) == 0, uninterrupted.stderr.read()[-1500:]
    for pattern in ("sft/checkpoints/step-2", "dpo/reference_training.jsonl",
                    "dpo/checkpoints/step-4", "responses/pools/*.partial.jsonl"):
        kill_when(cut, pattern)
    finished = start(cut)
    assert finished.wait(timeout=200) == 0, finished.stderr.read()[-1500:]
    for name in RESULTS:
        assert sha256_of(whole / name) == sha256_of(cut / name), name
