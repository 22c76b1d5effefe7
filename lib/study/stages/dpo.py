"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`train_dpo` trains on the profile's pairs into dpo/. `lib.study.stages.warning` then shows which
choice of pairs and learning rate lets accuracy and margin rise while the answers get worse.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib.runtime.files import Row, read_json, read_jsonl, shown
from lib.runtime.manifest import read_manifest
from lib.runtime.progress import say
from lib.study.pools.chosen import choose_pairs
from lib.study.pools.self_generated import generate_pairs
from lib.study.pools.taken import made_on
from lib.study.run import Study, run_stage
from lib.study.stages.probe import probe_of_run
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.training import train_job, training_job
from lib.training import dpo
from lib.training.job import Job, ProbeMaker

TOGETHER = ("batch_size", "epochs", "token_budget", "order")  # settings of which pairs share a row


def train_dpo(study: Study) -> list[Row]:
    """Train dpo/model on the profile's pairs, unless it is finished; dpo/metrics.jsonl's rows."""
    generate_pairs(study)
    choose_pairs(study)
    fit_rewards(study, says=False)  # the judge scores the probe's answers
    data = study.profile.data
    pairs = ", ".join(filter(None, ("preferences", data.choice())))
    options = {"profile": asdict(study.profile), "folder": str(study.folder)}
    if study.profile.dpo.kl_target:
        options["reference"] = str(study.path("sft", "model"))
    folder = run_stage(
        study, "dpo", {"model": study.profile.model, "dpo": study.profile.dpo.in_force(),
                       "pairs": pairs, "max_length": data.max_pair_length,
                       "probe": probe_parameters(study)},
        outputs=["model", "metrics.jsonl", "validation_rewards.jsonl"],
        work=lambda folder: _train(study, folder, ProbeMaker(probe_of_run, options)))
    return read_jsonl(folder / "metrics.jsonl")


def _train(study: Study, folder: Path, probe: ProbeMaker) -> None:
    take_reference(study, folder)
    train_job(dpo.train_dpo, dpo_job(study, folder), probe)


def take_reference(study: Study, folder: Path) -> None:
    """Copy the reference log-probabilities of `from_run` if they are those that this run needs.

    They depend on the SFT model, the pairs, the precision, and the rows in which pairs are
    computed together; not on beta, learning rate or loss.
    """
    source = study.from_run and study.from_run / folder.name
    there = read_manifest(source) if source and not study.force else None
    if source is None or there is None:
        return
    other, own = (_reference_made_from(made) for made in (
        there, read_json(folder / "begun.json") | made_on(study)))
    if differing := [name for name in own if own[name] != other.get(name)]:
        say(f"dpo: reference log-probabilities of {shown(source)} are not used, because "
            f"{', '.join(differing)} differ there")
        return
    for file in source.glob("reference_*.jsonl"):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    say(f"dpo: reference log-probabilities taken from {shown(source)}, where model, pairs and "
        "precision are the same")


def _reference_made_from(made: Row) -> Row:
    parameters, inputs = made["parameters"], made["inputs"]
    return {"device": made["device"], "dtype": made["dtype"],
            **{name: inputs.get(name) for name in ("data", "sft")},
            "pairs": [*map(inputs.get, ("pairs", "chosen_pairs")), parameters["pairs"]],
            **{name: parameters.get(name) for name in ("seed", "model", "max_length")},
            **{f"dpo.{name}": parameters["dpo"].get(name) for name in TOGETHER}}


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
