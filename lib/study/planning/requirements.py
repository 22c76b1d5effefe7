"""What a profile needs: rows, answers, disk, and the memory of each stage as `memory` counts it."""

from pathlib import Path

from lib.data.settings import DataSettings
from lib.runtime.devices import Device
from lib.study.planning import memory
from lib.study.planning.memory import RUNTIME_GB, Shape
from lib.study.policies import planned_deep_pools, planned_pools
from lib.study.profiles import Profile
from lib.training.settings import TrainingSettings

SFT_TOKENS = 420  # mean of SmolTalk, cut at 512
DPO_PAIRS, PAIR_TOKENS = 61_135, 640  # of UltraFeedback; the prompt once, both answers
ANSWER_TOKENS = 300  # of an answer to one of its prompts
SAMPLE_ROWS = {"sft": 256, "pairs": 526, "other_pairs": 170, "prompts": 320, "one_a_prompt": 256}
FILES_GB = 0.2  # data, answers, notebooks and figures of a run, without a model
HUB_GB = {"sft": 4.6, "preferences": 1.4}  # download and the Arrow files that datasets makes of it


def shape_for(profile: Profile) -> Shape:
    """The model's shape; an unknown hub model counts as the paper's."""
    return memory.shape_of(profile.model.name) or memory.SHAPES["Qwen/Qwen2.5-0.5B"]


def training_gb(profile: Profile, device: Device, stage: str, processes: int = 1,
                sharded: bool = False, settings: TrainingSettings | None = None) -> float:
    """Peak memory of one training process in GB; settings: in place of the profile's."""
    import torch
    counted = memory.training_bytes(
        shape_for(profile), settings or getattr(profile, stage), device.dtype != torch.float32,
        processes, sharded and processes > 1, device.device.type == "cpu")
    return counted / 1e9 + RUNTIME_GB[device.device.type]


def sampling_gb(profile: Profile) -> float:
    """Peak memory of sampling in GB."""
    tokens = profile.sampling.max_prompt_tokens + profile.sampling.max_new_tokens
    most = max(pool.answers for pool in planned_pools(profile))
    rows = min(profile.sampling.rows, most)
    return memory.sampling_bytes(shape_for(profile), rows, tokens) / 1e9 + RUNTIME_GB["cuda"]


def answers_of(profile: Profile) -> int:
    """Answers that the evaluation samples and scores."""
    return sum(pool.answers for pool in planned_pools(profile))


def pair_answers(profile: Profile) -> int:
    """Answers that the run samples to make its own pairs; none for other kinds of pairs."""
    data = profile.data
    prompts = SAMPLE_ROWS["prompts"] if data.source == "sample" else DPO_PAIRS
    return data.pair_samples * min(data.preference_rows or prompts, prompts) * (
        data.pairs == "self_generated")


def filter_answers(profile: Profile) -> int:
    """Answers of the SFT model beside which pairs are filtered; none without that choice."""
    data = profile.data
    prompts = SAMPLE_ROWS["prompts"] if data.source == "sample" else DPO_PAIRS
    return data.fdpo_samples * min(data.preference_rows or prompts, prompts) * (
        data.fdpo_threshold is not None)


def deep_answers(profile: Profile) -> int:
    """The most answers that the deep pools can take."""
    return sum(min(pool.answers, profile.evaluation.prompts * pool.samples)
               for pool in planned_deep_pools(profile))


def training_rows(data: DataSettings, kind: str) -> int:
    """Training rows of a kind: sft, pairs, one pair a prompt, or the sample's other_pairs."""
    wanted = data.sft_rows if kind == "sft" else data.preference_rows
    if data.source == "sample":
        return min(wanted or SAMPLE_ROWS[kind], SAMPLE_ROWS[kind])
    return wanted or DPO_PAIRS


def disk_gb(profile: Profile) -> float:
    """Disk for float32 models of all stages, their checkpoints, and the data, in GB.

    A stream or a local file takes little, a hub's data set its download and its Arrow files.
    """
    shape, data = shape_for(profile), profile.data
    kept = max(stage.keep_checkpoints for stage in (profile.sft, profile.dpo))
    trained = memory.trained_parameters(shape, profile.sft)
    models, checkpoints = 3 * shape.parameters * 4, trained * 12 * (kept + 1 + 2)
    streamed = {"sft": data.sft_rows, "preferences": data.preference_rows} if data.streaming else {}
    downloads = sum(size for part, size in HUB_GB.items()
                    if data.source == "hub" and streamed.get(part) is None
                    and not Path(getattr(data, f"{part}_path")).exists())
    return (models + checkpoints) / 1e9 + FILES_GB + downloads


def memory_rows(profile: Profile, gpu_gb: float = 16.0) -> list[dict[str, object]]:
    """What fills a GPU's memory in training, by stage, counted: {"stage", "kind", "gb", "of"}.

    `of` is the GPU's memory in GB.
    """
    shape, rows = shape_for(profile), []
    for stage in ("sft", "dpo"):
        parts = {"weights, masters, gradients, moments": memory.state_bytes(shape, True),
                 **memory.activation_parts(shape, getattr(profile, stage), True),
                 "CUDA itself": RUNTIME_GB["cuda"] * 1e9}
        rows += [{"stage": f"{profile.name}: {stage}", "kind": kind, "gb": value / 1e9,
                  "of": gpu_gb} for kind, value in parts.items()]
    return rows
