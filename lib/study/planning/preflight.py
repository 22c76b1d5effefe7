"""What cannot run on this machine, said before any work, with the setting that would help."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from lib.runtime.devices import Device, memory_gb
from lib.study.planning.memory import HEADROOM, state_bytes
from lib.study.planning.requirements import disk_gb, sampling_gb, shape_for, stage_gb, training_gb
from lib.study.profiles import Profile, RewardSettings
from lib.study.run import Study
from lib.training.settings import TrainingSettings


def blockers(study: Study, processes: int = 1, sharded: bool = False) -> list[str]:
    """Why the run cannot work on this machine, one sentence each, with what would help."""
    profile, device = study.profile, study.device
    on_gpu, found = device.device.type == "cuda", []
    have = memory_gb(device.device) / (1 if on_gpu else processes)  # processes share a CPU's memory
    if on_gpu and processes > (gpus := _gpus()):
        found.append(f"--processes is {processes} and {gpus} GPUs are there; use as many, or "
                     "several machines (lib/study/planning/README.md)")
    for stage in ("sft", "dpo"):
        need = training_gb(profile, device, stage, processes, sharded)
        if need > HEADROOM * have:
            found.append(f"{stage} needs about {need:.1f} GB of memory and {have:.1f} GB are there;"
                         f" {_memory_knob(profile, device, stage, have)}")
    if sampling_gb(profile) > HEADROOM * have:
        found.append(f"sampling needs about {sampling_gb(profile):.1f} GB of memory and {have:.1f} "
                     "GB are there; set sampling.rows=8")
    free = shutil.disk_usage(_existing(study.folder)).free / 1e9
    if disk_gb(profile) > free:
        found.append(f"the run needs about {disk_gb(profile):.1f} GB of disk and {free:.1f} GB are "
                     f"free at {study.folder}; choose another --run folder, or set "
                     f"{_disk_knob(profile)}")
    variable = profile.rewards.key_variable
    if _uses_hosted(profile) and not (os.environ.get(variable, "").strip() or _cached(study)):
        found.append(f"{variable} is not set; export the key, or set "
                     f"rewards.selector={profile.rewards.fallback}")
    return found


def _cached(study: Study) -> int:
    from lib.study.reward_models.remote import cached_api_scores  # which imports torch
    return cached_api_scores(study)


def _gpus() -> int:
    import torch
    return torch.cuda.device_count()


def _disk_knob(profile: Profile) -> str:
    """The gentlest settings that save disk."""
    data = profile.data
    stream = data.source == "hub" and data.sft_rows is not None and not data.streaming
    return ("data.streaming=true and " if stream else "") + (
        "sft.checkpoint_every=0 and dpo.checkpoint_every=0")


def _uses_hosted(profile: Profile) -> bool:
    return ("nemotron" in (profile.rewards.selector, profile.rewards.judge)
            and profile.rewards.base_url == RewardSettings().base_url)


def _memory_knob(profile: Profile, device: Device, stage: str, have: float) -> str:
    """The gentlest setting with which the stage fits: shorter rows, recomputation, LoRA, shards."""
    settings, shape = getattr(profile, stage), shape_for(profile)
    shortest = (profile.data.max_length if stage == "sft" else 2 * profile.data.max_pair_length)
    for again, rank in ((False, 0), (True, 0), (True, 16)):
        budget = settings.token_budget
        while budget >= shortest:
            tried = replace(settings, token_budget=budget, lora_rank=rank or settings.lora_rank,
                            activation_checkpointing=again or settings.activation_checkpointing)
            if stage_gb(shape, tried, device) <= HEADROOM * have:
                return f"set {_changes(stage, settings, tried)}"
            budget //= 2
    count = next((n for n in (2, 4, 8, 16, 32, 64) if state_bytes(shape, True) / n / 1e9
                  < HEADROOM * have / 2), 128)
    return f"train on more machines: --shard --processes {count}"


def _changes(stage: str, before: TrainingSettings, after: TrainingSettings) -> str:
    names = ("token_budget", "activation_checkpointing", "lora_rank")
    return " and ".join(f"{stage}.{name}={str(getattr(after, name)).lower()}" for name in names
                        if getattr(before, name) != getattr(after, name))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())
