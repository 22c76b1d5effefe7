"""Notebook 03's stage: Direct Preference Optimization from the fine-tuned model.

`prefer` trains on the profile's pairs into dpo/. `prefer_other` trains on the other kind of pairs
for the same prompts into dpo_other/: the lesson of notebook 03, that accuracy and margin can rise
while the answers get worse.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.modeling.loading import load_tokenizer, model_hash
from lib.runtime.files import read_jsonl, write_jsonl
from lib.study.fine_tune import load_trainable, save_trained
from lib.study.prepare import load_part
from lib.study.probe import validation_probe
from lib.study.run import Study, run_stage, stage_hash
from lib.training.dpo import DPOObjective, Pair, encode_pairs, pair_rewards
from lib.training.loop import Run, step_batches, train
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings


def prefer(study: Study) -> list[dict[str, Any]]:
    """Train or find dpo/model on the profile's pairs; returns the rows of dpo/metrics.jsonl."""
    return _stage(study, "dpo", "preferences", study.profile.dpo)


def prefer_other(study: Study) -> list[dict[str, Any]]:
    """The same on the other kind of pairs, trained harder, as a warning; dpo_other/metrics.jsonl.

    Empty where the source has no other pairs.
    """
    if not load_part(study, "other_pairs"):
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
    device, start = study.device, study.path("sft", "model")
    tokenizer = load_tokenizer(str(start))
    pairs, validation = (encode_pairs(load_part(study, name), tokenizer,
                                      study.profile.data.max_pair_length)
                         for name in (part, "preferences_validation"))
    objective, held = _with_reference(study, folder, settings, pairs, validation)
    model = load_trainable(study, str(start), settings)
    state = train(Run(model, objective, held, settings, folder, study.profile.seed, device.device,
                      device.dtype, validation_probe(study, tokenizer), name=folder.name.upper()))
    write_jsonl(folder / "validation_rewards.jsonl", pair_rewards(model, held, device.device))
    save_trained(model, state, tokenizer, folder)


def _with_reference(study: Study, folder: Path, settings: DPOSettings, pairs: Sequence[Pair],
                    validation: Sequence[Pair]) -> tuple[DPOObjective, DPOObjective]:
    """Training and validation objectives with the SFT model's log-probabilities of both."""
    device, start = study.device, study.path("sft", "model")
    _take_over(study, folder)
    model = load_trainable(study, str(start), replace(settings, lora_rank=0)).to(device.dtype)
    key = model_hash(start)
    objectives = []
    for name, rows in (("training", pairs), ("validation", validation)):
        bare = DPOObjective(rows, None, settings)
        batches = (step_batches(bare, settings, study.profile.seed) if name == "training"
                   else [[i for group in bare.groups for i in group]])
        reference = reference_logps(model, rows, batches, settings.token_budget, key,
                                    folder / f"reference_{name}.jsonl", device.device,
                                    f"reference ({name})")
        objectives.append(DPOObjective(rows, reference, settings))
    return objectives[0], objectives[1]


def _take_over(study: Study, folder: Path) -> None:
    """The warning run's validation pairs are the main run's: so are their log-probabilities."""
    known, own = (place / "reference_validation.jsonl" for place in (study.path("dpo"), folder))
    if known.exists() and not own.exists():
        shutil.copy(known, own)

