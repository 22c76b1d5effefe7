"""Training jobs of the study: here, or on the processes that the runner was told to use."""

from pathlib import Path

from lib.study.workers.processes import config_file, process_count, sharded
from lib.training.job import Job, run_job
from lib.training.parallel.launch import launch_job
from lib.viewers.training_panel import live_curves


def train_job(job: Job) -> None:
    """Run a training job; a person at a notebook sees the loss and reward curves grow."""
    with live_curves(Path(job.folder) / "metrics.jsonl"):
        if process_count() == 1 and not config_file():
            run_job(job)
        else:
            launch_job(job, process_count(), sharded(), config_file())
