"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`prefer` trains on the profile's pairs into dpo/. `prefer_other` trains on the other kind of pairs
for the same prompts into dpo_other/: the lesson of notebook 03, that accuracy and margin can rise
while the answers get worse.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime.files import read_jsonl
from lib.study.run import Study, run_stage, stage_hash
from lib.study.stages.data import load_part
from lib.study.stages.probe import probe_of_run
from lib.study.workers.training import train_job
from lib.training.dpo import train_dpo
from lib.training.job import Job, ProbeMaker
from lib.training.settings import DPOSettings

VALIDATION = {"preferences": "preferences_validation", "other_pairs": "other_validation"}


def prefer(study: Study) -> list[dict[str, Any]]:
    """Train or find dpo/model on the profile's pairs; returns the rows of dpo/metrics.jsonl."""
    return _stage(study, "dpo", "preferences", study.profile.dpo)


def prefer_other(study: Study) -> list[dict[str, Any]]:
    """The same on the other kind of pairs, trained harder, as a warning; dpo_other/metrics.jsonl.

    Validated on pairs of that kind, as a study that has no others would be. Empty where the source
    has no other pairs, or where `evaluation.warning_run` is off.
    """
    if not study.profile.evaluation.warning_run or not load_part(study, "other_pairs"):
        return []
    return _stage(study, "dpo_other", "other_pairs", study.profile.dpo_other)


def _stage(study: Study, name: str, part: str, settings: DPOSettings) -> list[dict[str, Any]]:
    folder = run_stage(
        study, name, {"model": study.profile.model, "dpo": settings, "pairs": part,
                      "max_length": study.profile.data.max_pair_length,
                      "probe_prompts": study.profile.evaluation.probe_prompts},
        inputs={"data": stage_hash(study, "data"), "sft": stage_hash(study, "sft")},
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl"],
        work=lambda folder: _prefer(study, folder, part, settings))
    return read_jsonl(folder / "metrics.jsonl")


def _prefer(study: Study, folder: Path, part: str, settings: DPOSettings) -> None:
    probe = ProbeMaker(probe_of_run, {"profile": asdict(study.profile),
                                      "folder": str(study.folder)})
    train_job(train_dpo, dpo_job(study, folder, part, settings), probe)


def dpo_job(study: Study, folder: Path, part: str, settings: DPOSettings) -> Job:
    """The stage as a job for `lib.training`; the SFT model is its start and its reference."""
    profile, model = study.profile, study.profile.model
    return Job("dpo", str(study.path("sft", "model")), str(study.path("data", f"{part}.parquet")),
               str(folder), str(study.path("data", f"{VALIDATION[part]}.parquet")), settings,
               None, profile.data.max_pair_length, profile.seed, model.device, model.precision,
               model.attention, profile.data.streaming)
