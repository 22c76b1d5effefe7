"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`train_dpo` trains on the profile's pairs into dpo/, `train_dpo_on_other_pairs` on the other kind of
pairs for the same prompts into dpo_other/. Notebook 03 shows with it that accuracy and margin can
rise while the answers get worse.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime.files import Row, read_jsonl
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part
from lib.study.stages.probe import probe_of_run
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.training import train_job, training_job
from lib.training import dpo
from lib.training.job import Job, ProbeMaker
from lib.training.settings import DPOSettings

VALIDATION = {"preferences": "preferences_validation", "other_pairs": "other_validation"}


def train_dpo(study: Study) -> list[Row]:
    """Train dpo/model on the profile's pairs, unless it is finished; dpo/metrics.jsonl's rows."""
    return _stage(study, "dpo", "preferences", study.profile.dpo)


def train_dpo_on_other_pairs(study: Study) -> list[Row]:
    """The warning run: harder training on the other kind of pairs; dpo_other/metrics.jsonl's rows.

    Its validation pairs are of that kind too. Empty if the source has no other pairs, or if
    `evaluation.warning_run` is off.
    """
    if not study.profile.evaluation.warning_run or not load_part(study, "other_pairs"):
        return []
    return _stage(study, "dpo_other", "other_pairs", study.profile.dpo_other)


def _stage(study: Study, name: str, part: str, settings: DPOSettings) -> list[Row]:
    fit_rewards(study)  # the judge scores the probe's answers
    probe = ProbeMaker(probe_of_run, {"profile": asdict(study.profile),
                                      "folder": str(study.folder)})
    folder = run_stage(
        study, name, {"model": study.profile.model, "dpo": settings.in_force(), "pairs": part,
                      "max_length": study.profile.data.max_pair_length, "probe": _probe(study)},
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl"],
        work=lambda folder: train_job(dpo.train_dpo, dpo_job(study, folder, part, settings),
                                      probe))
    return read_jsonl(folder / "metrics.jsonl")


def _probe(study: Study) -> dict[str, Any]:
    """Parameters of the logged samples: their number, their sampling settings, their judge."""
    profile = study.profile
    return {"prompts": profile.evaluation.probe_prompts, "judge": profile.rewards.judge,
            "sampling": {key: value for key, value in profile.sampling.deciding().items()
                         if key not in ("samples", "server")}}


def dpo_job(study: Study, folder: Path, part: str, settings: DPOSettings) -> Job:
    """The stage as a job for `lib.training`; the SFT model is its start and its reference."""
    return training_job(
        study, "dpo", folder, (part, VALIDATION[part]), model=str(study.path("sft", "model")),
        settings=settings, max_length=study.profile.data.max_pair_length)
