"""Notebook 02's stage: supervised fine-tuning of the base model."""

from pathlib import Path

from lib.runtime.files import Row, read_jsonl
from lib.study.run import Study, run_stage, stage_inputs
from lib.study.workers.processes import train_job
from lib.training.job import Job


def train_sft(study: Study) -> list[Row]:
    """Train or find sft/model; returns the rows of sft/metrics.jsonl."""
    profile = study.profile
    folder = run_stage(study, "sft", {"model": profile.model, "sft": profile.sft,
                                      "max_length": profile.data.max_length},
                       inputs=stage_inputs(study, "sft"),
                       outputs=["model", "metrics.jsonl"],
                       work=lambda folder: train_job(sft_job(study, folder)))
    return read_jsonl(folder / "metrics.jsonl")


def sft_job(study: Study, folder: Path) -> Job:
    """The stage as a job for `lib.training`."""
    profile, model = study.profile, study.profile.model
    return Job("sft", model.name, str(study.path("data", "sft.parquet")), str(folder),
               str(study.path("data", "sft_validation.parquet")), profile.sft, model.revision,
               profile.data.max_length, profile.seed, model.device, model.precision,
               model.attention, streamed=profile.data.streaming)
