"""What would stop a run on this machine, in one sentence each, before any work."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

from lib.runtime.devices import memory_gb
from lib.runtime.manifest import read_manifest
from lib.study.planning.memory import HEADROOM, SHAPES, linear_layers, state_bytes
from lib.study.planning.requirements import (
    FILES_GB,
    disk_gb,
    sampling_gb,
    shape_for,
    training_gb,
)
from lib.study.profiles import Profile, RewardSettings
from lib.study.reward_models.api import cached_api_scores
from lib.study.run import Study

CHANGEABLE = ("token_budget", "activation_checkpointing", "lora_rank")


def blockers(study: Study, processes: int = 1, sharded: bool = False) -> list[str]:
    """Why the run cannot work on this machine, each with a setting that would help."""
    return [*_lora_blockers(study.profile), *_engine_blockers(study),
            *_memory_blockers(study, processes, sharded), *_disk_blockers(study),
            *_key_blockers(study)]


def _lora_blockers(profile: Profile) -> Iterator[str]:
    """LoRA that a model of a known shape cannot have; `access` asks the configuration of others."""
    shape = SHAPES.get(profile.model.name)
    if shape is None:
        return
    for stage in ("sft", "dpo", "warning"):
        settings = getattr(profile, stage)
        if settings.lora_rank > shape.width:
            yield (f"{stage}.lora_rank is {settings.lora_rank} and the model is {shape.width} "
                   f"wide; use at most {shape.width}, or 0 to train all weights")
        known = linear_layers(shape)
        for name in settings.lora_targets or ():
            if name.rpartition(".")[2] not in (*known, "attention"):
                yield (f"{stage}.lora_targets has {name!r}, which no linear layer of the model is "
                       f"called; it has {', '.join(known)}")


def _engine_blockers(study: Study) -> Iterator[str]:
    sampling = study.profile.sampling
    if sampling.engine == "own":
        return
    from lib.inference.engine.openvino_model import openvino_fault  # loads transformers' models
    if sampling.server:
        yield ("sampling.engine is openvino and sampling.server is set, but only one can sample; "
               "leave one of them out")
    elif fault := openvino_fault(study.device.device, study.device.dtype):
        yield fault


def _memory_blockers(study: Study, processes: int, sharded: bool) -> Iterator[str]:
    import torch
    profile, device = study.profile, study.device
    on_gpu, gpus = device.device.type == "cuda", torch.cuda.device_count()
    if on_gpu and processes > gpus:
        yield (f"--processes is {processes} and this machine has {gpus} GPUs; use as many, or "
               "several machines (lib/study/planning/README.md)")
    have = memory_gb(device.device) / (1 if on_gpu else processes)  # processes share a CPU's memory
    needs = {stage: training_gb(profile, device, stage, processes, sharded)
             for stage in ("sft", "dpo")} | {"sampling": sampling_gb(profile)}
    for stage, need in needs.items():
        if need > HEADROOM * have:
            remedy = ("set sampling.rows=8" if stage == "sampling"
                      else _memory_remedy(study, stage, HEADROOM * have))
            yield (f"{stage} needs about {need:.1f} GB of memory and {have:.1f} GB are there; "
                   f"{remedy}")


def _memory_remedy(study: Study, stage: str, have: float) -> str:
    """The gentlest setting with which the stage fits: shorter rows, recomputation, LoRA, shards."""
    profile, settings = study.profile, getattr(study.profile, stage)
    shortest = profile.data.max_length if stage == "sft" else 2 * profile.data.max_pair_length
    for checkpointing, rank in ((False, 0), (True, 0), (True, 16)):
        budget = settings.token_budget
        while budget >= shortest:
            tried = replace(
                settings, token_budget=budget, lora_rank=rank or settings.lora_rank,
                activation_checkpointing=checkpointing or settings.activation_checkpointing)
            if training_gb(profile, study.device, stage, settings=tried) <= have:
                return "set " + " and ".join(
                    f"{stage}.{name}={str(getattr(tried, name)).lower()}" for name in CHANGEABLE
                    if getattr(settings, name) != getattr(tried, name))
            budget //= 2
    state = state_bytes(shape_for(profile), True) / 1e9
    count = next((n for n in (2, 4, 8, 16, 32, 64) if state / n < have / 2), 128)
    return f"train on more machines: --shard --processes {count}"


def _disk_blockers(study: Study) -> Iterator[str]:
    data, need = study.profile.data, _disk_left(study)
    existing = next(place for place in (study.folder, *study.folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        shows = ("; it is finished, and notebook 05 in JupyterLab shows it as it is"
                 if study.path("results.json").exists() else "")
        yield (f"{study.folder} cannot be written, because {existing} is "
               f"{'read-only' if existing.is_dir() else 'a file'}; choose another --run folder"
               f"{shows}")
        return
    free = shutil.disk_usage(existing).free / 1e9
    if need > free:
        stream = data.source == "hub" and data.sft_rows is not None and not data.streaming
        yield (f"the run needs about {need:.1f} GB of disk and {free:.1f} GB are free at "
               f"{study.folder}; choose another --run folder, or set "
               f"{'data.streaming=true and ' if stream else ''}sft.checkpoint_every=0 and "
               "dpo.checkpoint_every=0")


def _disk_left(study: Study) -> float:
    """GB that the run still writes: without a model to train, only the files of its results."""
    trained = ["sft", "dpo", *(["beyond"] if study.profile.beyond.arms else [])]
    finished = all(read_manifest(study.path(stage)) for stage in trained)
    return FILES_GB if finished else disk_gb(study.profile)


def _key_blockers(study: Study) -> Iterator[str]:
    rewards = study.profile.rewards
    hosted = uses_api(study.profile) and rewards.base_url == RewardSettings().base_url
    if hosted and not (os.environ.get(rewards.key_variable, "").strip()
                       or cached_api_scores(study)):
        yield (f"{rewards.key_variable} is not set; export the key, or set "
               f"rewards.selector={rewards.fallback}")


def uses_api(profile: Profile) -> bool:
    """Whether the selector or the judge is Nemotron's API."""
    return "nemotron" in (profile.rewards.selector, profile.rewards.judge)
