"""Notebook 02's stage: supervised fine-tuning of the base model."""

from pathlib import Path

from lib.runtime.files import Row, read_jsonl
from lib.study.run import Study, run_stage
from lib.study.workers.training import train_job, training_job
from lib.training import sft
from lib.training.job import Job


def train_sft(study: Study) -> list[Row]:
    """Train sft/model, unless it is finished; returns the rows of sft/metrics.jsonl."""
    profile = study.profile
    folder = run_stage(
        study, "sft", {"model": profile.model, "sft": profile.sft.in_force(),
                       "max_length": profile.data.max_length},
        outputs=["model", "metrics.jsonl"],
        work=lambda folder: train_job(sft.train_sft, sft_job(study, folder)))
    return read_jsonl(folder / "metrics.jsonl")


def sft_job(study: Study, folder: Path) -> Job:
    """The stage as a job for `lib.training`; it starts from the profile's model."""
    model = study.profile.model
    return training_job(
        study, "sft", folder, ("sft", "sft_validation"), model=model.name,
        revision=model.revision, settings=study.profile.sft,
        max_length=study.profile.data.max_length)
