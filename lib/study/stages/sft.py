"""Notebook 02's stage: supervised fine-tuning of the base model."""

from pathlib import Path

from lib.inference.engine.load_check import sampler_of
from lib.modeling.packages import PACKAGED
from lib.runtime.files import Row, read_jsonl
from lib.study.policies import load_policy
from lib.study.run import Study, run_stage
from lib.study.workers.training import train_job, training_job
from lib.training import sft
from lib.training.job import Job


def train_sft(study: Study) -> list[Row]:
    """Train sft/model, unless it is finished; returns the rows of sft/metrics.jsonl."""
    profile = study.profile
    folder = run_stage(
        study, "sft", {"model": profile.model, "sft": profile.sft,
                       "max_length": profile.data.max_length},
        outputs=["model", "metrics.jsonl"],
        work=lambda folder: _train(study, folder))
    return read_jsonl(folder / "metrics.jsonl")


def _train(study: Study, folder: Path) -> None:
    """Train, after a try of the sampler: a hub's weights may have come only now."""
    if study.profile.model.name not in (*PACKAGED, "smoke"):
        sampler_of(load_policy(study, "base")[0])
    train_job(sft.train_sft, sft_job(study, folder))


def sft_job(study: Study, folder: Path) -> Job:
    """The stage as a job for `lib.training`; it starts from the profile's model."""
    model = study.profile.model
    return training_job(
        study, "sft", folder, ("sft", "sft_validation"), model=model.name,
        revision=model.revision, settings=study.profile.sft,
        max_length=study.profile.data.max_length)
