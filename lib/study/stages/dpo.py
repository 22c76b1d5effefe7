"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`train_dpo` trains on the profile's pairs into dpo/. `lib.study.stages.warning` then shows which
choice of pairs and learning rate lets accuracy and margin rise while the answers get worse.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime.files import Row, read_jsonl
from lib.study.pools.self_generated import generate_pairs
from lib.study.run import Study, run_stage
from lib.study.stages.probe import probe_of_run
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.training import train_job, training_job
from lib.training import dpo
from lib.training.job import Job, ProbeMaker


def train_dpo(study: Study) -> list[Row]:
    """Train dpo/model on the profile's pairs, unless it is finished; dpo/metrics.jsonl's rows."""
    generate_pairs(study)
    fit_rewards(study)  # the judge scores the probe's answers
    probe = ProbeMaker(probe_of_run, {"profile": asdict(study.profile),
                                      "folder": str(study.folder)})
    folder = run_stage(
        study, "dpo", {"model": study.profile.model, "dpo": study.profile.dpo.in_force(),
                       "pairs": "preferences", "max_length": study.profile.data.max_pair_length,
                       "probe": probe_parameters(study)},
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl"],
        work=lambda folder: train_job(dpo.train_dpo, dpo_job(study, folder), probe))
    return read_jsonl(folder / "metrics.jsonl")


def probe_parameters(study: Study) -> dict[str, Any]:
    """Parameters of the logged samples: their number, their sampling settings, their judge."""
    profile = study.profile
    return {"prompts": profile.evaluation.probe_prompts, "judge": profile.rewards.scoring.judge,
            "sampling": {key: value for key, value in profile.sampling.deciding().items()
                         if key not in ("samples", "server")}}


def dpo_job(study: Study, folder: Path) -> Job:
    """The stage as a job for `lib.training`; the SFT model is its start and its reference."""
    return training_job(
        study, "dpo", folder, ("preferences", "preferences_validation"),
        model=str(study.path("sft", "model")), settings=study.profile.dpo,
        max_length=study.profile.data.max_pair_length)
