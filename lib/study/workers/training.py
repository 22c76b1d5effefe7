"""Training jobs of the study: here, or on the processes that the runner was told to use."""

from collections.abc import Callable
from pathlib import Path

from lib.study.workers.processes import config_file, process_count, sharded
from lib.training.job import Job, ProbeMaker
from lib.training.parallel.launch import launch_job
from lib.viewers.training_panel import live_curves


def train_job(train: Callable[..., None], job: Job, make_probe: ProbeMaker | None = None) -> None:
    """`train(job)` here, or the job on the processes; a person at a notebook sees curves grow.

    train: `train_sft` or `train_dpo`.
    """
    with live_curves(Path(job.folder) / "metrics.jsonl"):
        if process_count() == 1 and not config_file():
            train(job, make_probe=make_probe)
        else:
            launch_job(job, process_count(), sharded(), config_file(), make_probe)
