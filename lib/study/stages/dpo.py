"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`train_dpo` trains on the profile's pairs into dpo/, `train_dpo_on_other_pairs` on the other kind of
pairs for the same prompts into dpo_other/: the lesson of notebook 03, that accuracy and margin can
rise while the answers get worse.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime.files import Row, read_jsonl
from lib.study.run import Study, run_stage, stage_inputs
from lib.study.stages.data import load_part
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.processes import train_job
from lib.training.job import Job
from lib.training.settings import DPOSettings

VALIDATION = {"preferences": "preferences_validation", "other_pairs": "other_validation"}


def train_dpo(study: Study) -> list[Row]:
    """Train or find dpo/model on the profile's pairs; returns the rows of dpo/metrics.jsonl."""
    return _stage(study, "dpo", "preferences", study.profile.dpo)


def train_dpo_on_other_pairs(study: Study) -> list[Row]:
    """The same on the other kind of pairs, trained harder, as a warning; dpo_other/metrics.jsonl.

    Validated on pairs of that kind, as a study that has no others would be. Empty where the source
    has no other pairs.
    """
    if not load_part(study, "other_pairs"):
        return []
    return _stage(study, "dpo_other", "other_pairs", study.profile.dpo_other)


def _stage(study: Study, name: str, part: str, settings: DPOSettings) -> list[Row]:
    fit_rewards(study)  # its judge reads the probe's answers
    folder = run_stage(
        study, name, {"model": study.profile.model, "dpo": settings, "pairs": part,
                      "max_length": study.profile.data.max_pair_length, "probe": _probe(study)},
        inputs=stage_inputs(study, name),
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl"],
        work=lambda folder: train_job(dpo_job(study, folder, part, settings)))
    return read_jsonl(folder / "metrics.jsonl")


def _probe(study: Study) -> dict[str, Any]:
    """What the logged samples depend on: how many, how they are drawn, and who judges them."""
    profile = study.profile
    return {"prompts": profile.evaluation.probe_prompts, "judge": profile.rewards.judge,
            "sampling": {key: value for key, value in profile.sampling.deciding().items()
                         if key not in ("samples", "server")}}


def dpo_job(study: Study, folder: Path, part: str, settings: DPOSettings) -> Job:
    """The stage as a job for `lib.training`; the SFT model is its start and its reference."""
    profile, model = study.profile, study.profile.model
    return Job("dpo", str(study.path("sft", "model")), str(study.path("data", f"{part}.parquet")),
               str(folder), str(study.path("data", f"{VALIDATION[part]}.parquet")), settings,
               None, profile.data.max_pair_length, profile.seed, model.device, model.precision,
               model.attention, "lib.study.stages.probe:probe_of_run",
               {"profile": asdict(profile), "folder": str(study.folder)}, profile.data.streaming)
