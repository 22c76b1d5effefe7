"""What a profile needs: memory of each stage, counted (`lib.study.planning.memory`), disk, and answers."""

from pathlib import Path

import torch

from lib.data.settings import DataSettings
from lib.runtime.devices import Device
from lib.study.planning.costs import DPO_PAIRS
from lib.study.planning.memory import (
    RUNTIME_GB,
    SHAPES,
    Shape,
    activation_parts,
    sampling_bytes,
    shape_of,
    state_bytes,
    training_bytes,
)
from lib.study.policies import planned_deep_pools, planned_pools
from lib.study.profiles import Profile
from lib.training.settings import TrainingSettings

SAMPLE_ROWS = {"sft": 256, "pairs": 551}
HUB_GB = {"sft": 4.6, "preferences": 1.4}  # download and the Arrow files that datasets makes of it


def shape_for(profile: Profile) -> Shape:
    """The model's shape; a hub model that we do not know counts as the paper's."""
    return shape_of(profile.model.name) or SHAPES["Qwen/Qwen2.5-0.5B"]


def training_gb(profile: Profile, device: Device, stage: str, processes: int = 1,
                sharded: bool = False) -> float:
    """Counted peak memory of one process that trains, in GB."""
    return stage_gb(shape_for(profile), getattr(profile, stage), device, processes, sharded)


def stage_gb(shape: Shape, settings: TrainingSettings, device: Device, processes: int = 1,
             sharded: bool = False) -> float:
    """The same for a model's shape and a stage's settings."""
    half = device.dtype != torch.float32
    counted = training_bytes(shape, settings, half, processes, sharded and processes > 1,
                             device.device.type == "cpu")
    return counted / 1e9 + RUNTIME_GB[device.device.type]


def sampling_gb(profile: Profile) -> float:
    """Counted peak memory of sampling, in GB."""
    tokens = profile.sampling.max_prompt_tokens + profile.sampling.max_new_tokens
    rows = min(profile.sampling.rows, profile.evaluation.prompts * profile.sampling.samples)
    return sampling_bytes(shape_for(profile), rows, tokens) / 1e9 + RUNTIME_GB["cuda"]


def answers_of(profile: Profile) -> int:
    """Answers that are sampled, and scored, for the evaluation."""
    return profile.evaluation.prompts * sum(pool.samples for pool in planned_pools(profile))


def deep_answers(profile: Profile) -> int:
    """Answers of the long pools, at most."""
    settings = profile.evaluation
    return min(settings.deep_prompts, settings.prompts) * sum(
        pool.samples for pool in planned_deep_pools(profile))


def rows_of(data: DataSettings, kind: str) -> int:
    """Training rows of a kind: sft or pairs."""
    asked = data.sft_rows if kind == "sft" else data.preference_rows
    if data.source == "sample":
        return min(asked or SAMPLE_ROWS[kind], SAMPLE_ROWS[kind])
    return asked or DPO_PAIRS


def disk_gb(profile: Profile) -> float:
    """Float32 models of the stages, checkpoints that lie there together, and the data."""
    parameters = shape_for(profile).parameters
    kept = max(stage.keep_checkpoints for stage in (profile.sft, profile.dpo))
    models, checkpoints = 3 * parameters * 4, parameters * 12 * (kept + 1 + 2)
    return (models + checkpoints) / 1e9 + data_gb(profile.data)


def data_gb(data: DataSettings) -> float:
    """Disk that the data take: little for a sample, a local file or a stream's choice."""
    if data.source != "hub":
        return 0.2
    kept = {"sft": data.sft_rows, "preferences": data.preference_rows}
    return 0.2 + sum(size for part, size in HUB_GB.items()
                     if not (data.streaming and kept[part] is not None)
                     and not Path(getattr(data, f"{part}_path")).exists())


def memory_rows(profile: Profile, gpu_gb: float = 16.0) -> list[dict[str, object]]:
    """What fills the memory of a GPU in training, stage by stage, in GB, counted.

    Rows {"stage", "kind", "gb", "of"}; `of` is the memory that the GPU has.
    """
    shape, rows = shape_for(profile), []
    for stage in ("sft", "dpo"):
        parts = {"weights, masters, gradients, moments": state_bytes(shape, True),
                 **activation_parts(shape, getattr(profile, stage), True),
                 "CUDA itself": RUNTIME_GB["cuda"] * 1e9}
        rows += [{"stage": f"{profile.name}: {stage}", "kind": kind, "gb": value / 1e9,
                  "of": gpu_gb} for kind, value in parts.items()]
    return rows
