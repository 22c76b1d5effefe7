"""Notebook 02's stage: supervised fine-tuning of the base model."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lib.modeling.loading import load_model, load_tokenizer, save_model
from lib.modeling.lora import merge_lora, with_lora
from lib.runtime.files import read_jsonl
from lib.runtime.progress import say
from lib.study.prepare import load_part
from lib.study.run import Study, run_stage, stage_hash
from lib.training.loop import Run, train
from lib.training.settings import TrainingSettings
from lib.training.sft import SFTObjective, encode_sft


def fine_tune(study: Study) -> list[dict[str, Any]]:
    """Train or find sft/model; returns the rows of sft/metrics.jsonl."""
    profile = study.profile
    folder = run_stage(study, "sft", {"model": profile.model, "sft": profile.sft,
                                      "max_length": profile.data.max_length},
                       inputs={"data": stage_hash(study, "data")},
                       outputs=["model", "metrics.jsonl"],
                       work=lambda folder: _fine_tune(study, folder))
    return read_jsonl(folder / "metrics.jsonl")


def _fine_tune(study: Study, folder: Path) -> None:
    profile, device = study.profile, study.device
    tokenizer = load_tokenizer(profile.model.name, profile.model.revision)
    model = load_trainable(study, profile.model.name, profile.sft, profile.model.revision)
    train_rows, validation = (
        SFTObjective(encode_sft(load_part(study, part), tokenizer, profile.data.max_length),
                     profile.sft.token_budget) for part in ("sft", "sft_validation"))
    state = train(Run(model, train_rows, validation, profile.sft, folder, profile.seed,
                      device.device, device.dtype, name="SFT"))
    save_trained(model, state, tokenizer, folder)


def load_trainable(study: Study, name: str, settings: TrainingSettings,
                   revision: str | None = None) -> PreTrainedModel:
    """A float32 model on the run's device, with LoRA or activation checkpointing if asked for."""
    device = study.device
    model = load_model(name, torch.float32, device.device, revision, study.profile.model.attention)
    say(f"training in {str(device.dtype).removeprefix('torch.')} with float32 master weights, "
        f"{'all' if not settings.lora_rank else 'LoRA'} parameters of {name}")
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora_rank:
        return with_lora(model, settings.lora_rank, settings.lora_alpha)
    return model


def save_trained(model: PreTrainedModel, state: dict[str, torch.Tensor], tokenizer: Any,
                 folder: Path) -> None:
    """Write `folder`/model in float32: what training changed, LoRA merged into the weights."""
    model.float()
    model.load_state_dict(state, strict=False)
    save_model(merge_lora(model), tokenizer, folder / "model")
