"""What a run would take, before it starts: downloads, disk, memory, keys, API calls, minutes.

Memory is counted (`lib.study.memory`). Minutes are arithmetic (6 operations a parameter and token
for training, 2 for reading or writing) over a rate: measured by a warm-up of a second or two where
the profile's device is present, else the data sheet's with a stated share (`lib.study.costs`).
`refusals` says what cannot run here, and which setting would make it run.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lib.data.settings import DataSettings
from lib.inference.rewards.nemotron import HOSTED
from lib.runtime.devices import Device
from lib.runtime.progress import duration
from lib.study.access import api_settings
from lib.study.costs import (
    ANSWER_TOKENS,
    BANDWIDTH_SHARE,
    DPO_PAIRS,
    GPUS,
    PAIR_TOKENS,
    SFT_TOKENS,
)
from lib.study.deep_pools import deep_answers
from lib.study.memory import (
    RUNTIME_GB,
    SHAPES,
    Shape,
    activation_bytes,
    head_bytes,
    sampling_bytes,
    shape_of,
    state_bytes,
    training_bytes,
)
from lib.study.profiles import Profile
from lib.study.rerank import candidates_of, pools
from lib.study.run import Study
from lib.study.warm_up import training_rate
from lib.training.settings import TrainingSettings

DOWNLOADS_GB = {"packaged": 0.09, "smoke": 0.0, "Qwen/Qwen2.5-0.5B": 1.0}
SAMPLING_TOKENS = 600.0  # new tokens a second of the packaged model on two CPU cores, measured
SAMPLE_ROWS = {"sft": 256, "pairs": 551}
TOKENS = {"sft": {"sample": 154, "hub": SFT_TOKENS}, "pairs": {"sample": 100, "hub": PAIR_TOKENS},
          "answer": {"sample": 80, "hub": ANSWER_TOKENS}}
SCORED_ANSWERS = 3160  # answers of the sample that the embedded heads are fitted and tested on
AUDIT_ANSWERS = 480  # answers of the audit, which every judge scores once
HEADROOM = 0.94  # of a memory that may be planned for; fragments take the rest


@dataclass(frozen=True)
class Stage:
    """One line of the plan; seconds and peak memory are estimates."""

    name: str
    what: str
    seconds: float
    memory_gb: float


def plan_text(study: Study, processes: int = 1, sharded: bool = False) -> str:
    """The plan as text: stages with minutes and memory, then downloads, disk, keys, refusals."""
    profile, device = study.profile, study.device
    rate, where = rate_of(profile, device)
    stages = list(_stages(profile, device, rate * processes, processes, sharded))
    lines = [f"plan for profile {profile.name} ({device.reason}), estimates:",
             f"{'stage':<12}{'time':>14}{'memory':>10}  what"]
    lines += [f"{s.name:<12}{duration(s.seconds):>14}{s.memory_gb:>7.1f} GB  {s.what}"
              for s in stages]
    total, memory = sum(s.seconds for s in stages), max(s.memory_gb for s in stages)
    problems = [f"cannot run here: {problem}" for problem in refusals(study, processes, sharded)]
    return "\n".join([
        *lines, f"{'all':<12}{duration(total):>14}{memory:>7.1f} GB", f"rate: {where}",
        f"downloads: {_downloads(profile)}", f"disk: about {disk_gb(profile):.1f} GB",
        f"keys: {_keys(profile)}",
        *(problems or ["memory, disk and keys: enough for it here"])])


def rate_of(profile: Profile, device: Device) -> tuple[float, str]:
    """Training FLOP/s and how it is known: measured here, or a T4's where only a GPU would do."""
    if device.device.type == "cpu" and device.dtype == torch.float16:
        card = GPUS[0]
        return card.peak_flops * card.share, (
            f"{card.peak_flops * card.share / 1e9:,.0f} GFLOP/s, computed: {card.share:.0%} of a "
            f"{card.name}'s data sheet, because there is no GPU here")
    measured = training_rate(_shape(profile), device)
    return measured, (f"{measured / 1e9:,.0f} GFLOP/s on {device.device.type}, measured by training"
                      " two layers of this width for a second")


def _stages(profile: Profile, device: Device, rate: float, processes: int,
            sharded: bool) -> Iterator[Stage]:
    shape = _shape(profile)
    source = "sample" if profile.data.source == "sample" else "hub"
    memory = {name: training_gb(profile, device, name, processes, sharded)
              for name in ("sft", "dpo")}
    sft = _rows(profile.data, "sft") * TOKENS["sft"][source] * profile.sft.epochs
    pairs = _rows(profile.data, "pairs") * TOKENS["pairs"][source] * profile.dpo.epochs
    answer = min(profile.sampling.max_new_tokens, TOKENS["answer"][source])
    answers = answers_of(profile)
    flops = {name: 8 if getattr(profile, name).activation_checkpointing else 6
             for name in ("sft", "dpo")}
    yield Stage("data", "read, curate, split", 5 if source == "sample" else 300, 1.0)
    yield Stage("sft", f"{sft:,.0f} tokens", flops["sft"] * shape.parameters * sft / rate,
                memory["sft"])
    if "embedded" in (profile.rewards.selector, profile.rewards.judge):
        yield Stage("rewards", f"{SCORED_ANSWERS:,} answers read twice for two heads",
                    2 * shape.parameters * SCORED_ANSWERS * 85 / rate, 2.0)
    yield Stage("dpo", f"{pairs:,.0f} tokens, and the reference once",
                (flops["dpo"] + 2) * shape.parameters * pairs / rate, memory["dpo"])
    yield Stage("responses", f"{answers:,} answers of about {answer} tokens",
                answers * answer / _sampling_rate(shape, profile, device), sampling_gb(profile))
    if long := deep_answers(profile):
        yield Stage("deep", f"{long:,} answers for a long Best-of-N curve",
                    long * answer / _sampling_rate(shape, profile, device), sampling_gb(profile))
    yield Stage("results", "statistics, figures, viewers", 60, 1.5)


def _shape(profile: Profile) -> Shape:
    """The model's shape; a hub model that we do not know counts as the paper's."""
    return shape_of(profile.model.name) or SHAPES["Qwen/Qwen2.5-0.5B"]


def training_gb(profile: Profile, device: Device, stage: str, processes: int = 1,
                sharded: bool = False) -> float:
    """Counted peak memory of one process that trains, in GB."""
    return _training_gb(_shape(profile), getattr(profile, stage), device, processes, sharded)


def _training_gb(shape: Shape, settings: TrainingSettings, device: Device, processes: int,
                 sharded: bool) -> float:
    half = device.dtype != torch.float32
    counted = training_bytes(shape, settings, half, processes, sharded and processes > 1)
    return counted / 1e9 + RUNTIME_GB[device.device.type]


def sampling_gb(profile: Profile) -> float:
    """Counted peak memory of sampling, in GB."""
    tokens = profile.sampling.max_prompt_tokens + profile.sampling.max_new_tokens
    rows = min(profile.sampling.rows, profile.evaluation.prompts * profile.sampling.samples)
    return sampling_bytes(_shape(profile), rows, tokens) / 1e9 + RUNTIME_GB["cuda"]


def _sampling_rate(shape: Shape, profile: Profile, device: Device) -> float:
    """New tokens a second: from the measured CPU rate, or the weights read once a step."""
    if device.device.type == "cpu":
        return SAMPLING_TOKENS * SHAPES["packaged"].parameters / shape.parameters
    name = torch.cuda.get_device_name(device.device)
    bandwidth = next((gpu.bandwidth for gpu in GPUS if gpu.name in name), GPUS[0].bandwidth)
    step = sampling_bytes(shape, profile.sampling.rows, 512) / (bandwidth * BANDWIDTH_SHARE)
    return profile.sampling.rows / max(step, 0.4e-3 * shape.layers)  # or the launch of kernels


def answers_of(profile: Profile) -> int:
    """Answers that are sampled, and scored, for the evaluation."""
    study = Study(profile, folder=Path())  # the folder plays no part in the names
    return profile.evaluation.prompts * sum(candidates_of(study, policy)
                                            for policy, _ in pools(study))


def _rows(data: DataSettings, kind: str) -> int:
    asked = data.sft_rows if kind == "sft" else data.preference_rows
    if data.source == "sample":
        return min(asked or SAMPLE_ROWS[kind], SAMPLE_ROWS[kind])
    return asked or DPO_PAIRS


def _downloads(profile: Profile) -> str:
    local = Path(profile.model.name).exists()
    parts = [f"{profile.model.name} "
             f"{0.0 if local else DOWNLOADS_GB.get(profile.model.name, 1.0):.2f} GB"]
    if profile.data.source == "hub":
        parts += [f"{path} {size} GB" for path, size in ((profile.data.sft_path, 2.1),
                                                         (profile.data.preferences_path, 0.65))
                  if not Path(path).exists()]
    parts += [f"{name} (reward model)" for name in (profile.rewards.selector, profile.rewards.judge)
              if name not in ("embedded", "nemotron") and not Path(name).exists()]
    return "; ".join(parts)


def disk_gb(profile: Profile) -> float:
    """Float32 models of the stages, and the checkpoints that lie there at the same time."""
    parameters = _shape(profile).parameters
    kept = max(stage.keep_checkpoints for stage in (profile.sft, profile.dpo))
    models, checkpoints = 3 * parameters * 4, parameters * 12 * (kept + 1 + 2)
    return (models + checkpoints) / 1e9 + (6 if profile.data.source == "hub" else 0.2)


def _uses_hosted(profile: Profile) -> bool:
    return ("nemotron" in (profile.rewards.selector, profile.rewards.judge)
            and profile.rewards.base_url == HOSTED)


def _keys(profile: Profile) -> str:
    if "nemotron" not in (profile.rewards.selector, profile.rewards.judge):
        return "none"
    calls = answers_of(profile) + deep_answers(profile) + AUDIT_ANSWERS
    rate = api_settings(profile.rewards)
    variable = profile.rewards.key_variable
    state = "set" if os.environ.get(variable) else "not set"
    return (f"{variable} ({state}); {calls:,} calls, about "
            f"{calls / rate.calls_per_minute:.0f} min at {rate.calls_per_minute:,.0f} a minute")


def refusals(study: Study, processes: int = 1, sharded: bool = False) -> list[str]:
    """Why the run cannot work on this machine, one sentence each, with what would help."""
    profile, device = study.profile, study.device
    have = memory_here_gb(device)
    found = []
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
                     "sft.checkpoint_every=0 and dpo.checkpoint_every=0")
    variable = profile.rewards.key_variable
    if _uses_hosted(profile) and not os.environ.get(variable, "").strip():
        found.append(f"{variable} is not set; export the key, or set "
                     f"rewards.selector={profile.rewards.fallback}")
    return found


def memory_here_gb(device: Device) -> float:
    """Memory of the GPU, or of this machine."""
    if device.device.type == "cuda":
        return torch.cuda.get_device_properties(device.device).total_memory / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _memory_knob(profile: Profile, device: Device, stage: str, have: float) -> str:
    """The gentlest setting with which the stage fits: shorter rows, recomputation, LoRA, shards."""
    settings, shape = getattr(profile, stage), _shape(profile)
    shortest = (profile.data.max_length if stage == "sft" else 2 * profile.data.max_pair_length)
    for again, rank in ((False, 0), (True, 0), (True, 16)):
        budget = settings.token_budget
        while budget >= shortest:
            tried = replace(settings, token_budget=budget, lora_rank=rank or settings.lora_rank,
                            activation_checkpointing=again or settings.activation_checkpointing)
            if _training_gb(shape, tried, device, 1, False) <= HEADROOM * have:
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


def memory_rows(profile: Profile, gpu_gb: float = 16.0) -> list[dict[str, object]]:
    """What fills the memory of a GPU in training, stage by stage, in GB, counted.

    Rows {"stage", "kind", "gb", "of"}; `of` is the memory that the GPU has.
    """
    shape, rows = _shape(profile), []
    for stage in ("sft", "dpo"):
        settings = getattr(profile, stage)
        parts = {"weights, masters, gradients, moments": state_bytes(shape, True),
                 "kept for the backward pass": activation_bytes(
                     shape, settings.token_budget, True, settings.activation_checkpointing),
                 "logits of a chunk": head_bytes(shape, settings.token_budget, True),
                 "CUDA itself": RUNTIME_GB["cuda"] * 1e9}
        rows += [{"stage": f"{profile.name}: {stage}", "kind": kind, "gb": value / 1e9,
                  "of": gpu_gb} for kind, value in parts.items()]
    return rows
