"""How many processes a study works on: `--processes`, `--shard` and `--accelerate` of the runner.

The runner passes them to the notebooks' kernels in the environment, because they change how long
a stage takes and not what comes out: they are no part of a profile or of a stage's parameters.
"""

import os
from collections.abc import Callable
from pathlib import Path

from lib.training.job import Job, ProbeMaker
from lib.training.parallel.launch import launch_job
from lib.viewers.training_panel import live_curves

COUNT, SHARDED, CONFIG = "STUDY_PROCESSES", "STUDY_SHARDED", "STUDY_ACCELERATE_CONFIG"


def use_processes(count: int, sharded: bool, config_file: str) -> None:
    """Set what `train_job` does from here on, in the kernels of notebooks too.

    Raises ValueError for a count below 1 or a configuration file that is not there.
    """
    if count < 1:
        raise ValueError(f"--processes is {count}; use at least 1")
    if config_file and not os.path.exists(config_file):
        raise ValueError(f"--accelerate {config_file}: there is no such file; "
                         "`accelerate config --config_file FILE` writes one")
    os.environ[COUNT], os.environ[SHARDED] = str(count), "1" if sharded else ""
    os.environ[CONFIG] = os.path.abspath(config_file) if config_file else ""


def share_count() -> int:
    """On how many processes sampling and scoring are split; a configuration file is for training.
    """
    return 1 if os.environ.get(CONFIG) else int(os.environ.get(COUNT, "1"))


def train_job(train: Callable[..., None], job: Job, make_probe: ProbeMaker | None = None) -> None:
    """`train(job)` here, or the job on as many processes as the runner was told to use.

    train: `train_sft` or `train_dpo`. A person at a notebook sees the curves grow.
    """
    count, config_file = int(os.environ.get(COUNT, "1")), os.environ.get(CONFIG, "")
    with live_curves(Path(job.folder) / "metrics.jsonl"):
        if count == 1 and not config_file:
            train(job, make_probe=make_probe)
        else:
            launch_job(job, count, bool(os.environ.get(SHARDED)), config_file, make_probe)
