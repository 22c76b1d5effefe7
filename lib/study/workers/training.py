"""Training jobs of the study: in this process, or on the processes of `--processes`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.study.run import Study
from lib.study.stages.data import part_file
from lib.study.workers.processes import config_file, process_count, sharded
from lib.training.job import Job, Method, ProbeMaker, run_name
from lib.training.parallel.launch import launch_job
from lib.viewers.training_panel import live_curves


def train_job(train: Callable[..., None], job: Job, make_probe: ProbeMaker | None = None) -> None:
    """Call `train(job)`, or start the job on several processes; a live notebook shows its curves.

    train: `train_sft` or `train_dpo`.
    """
    with live_curves(Path(job.folder) / "metrics.jsonl", run_name(job)):
        if process_count() == 1 and not config_file():
            train(job, make_probe=make_probe)
        else:
            launch_job(job, process_count(), sharded(), config_file(), make_probe)


def training_job(study: Study, method: Method, folder: Path, parts: tuple[str, str],
                 **fields: Any) -> Job:
    """A job on the run's data; parts: to train on and to validate on, fields: of `Job`."""
    rows, validation = (str(part_file(study, part)) for part in parts)
    model = study.profile.model
    return Job(method=method, rows=rows, validation=validation, folder=str(folder),
               seed=study.profile.seed, device=model.device, precision=model.precision,
               attention=model.attention, streamed=study.profile.data.streaming, **fields)
