"""What a run would take, before it starts: downloads, disk, memory, keys, minutes.

Arithmetic is counted (6 operations a parameter and token for training, 2 for reading or writing)
and divided by a stated rate for the device; the rates are measured for two CPU cores and stated
assumptions for GPUs. Token counts of hub data are the averages of their cards.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lib.data.settings import DataSettings
from lib.runtime.progress import duration
from lib.study.deep_pools import deep_answers
from lib.study.profiles import Profile
from lib.study.rerank import pools
from lib.study.run import Study

PARAMETERS = {"packaged": 134.5e6, "smoke": 0.15e6, "Qwen/Qwen2.5-0.5B": 494e6}
DOWNLOADS_GB = {"packaged": 0.09, "smoke": 0.0, "Qwen/Qwen2.5-0.5B": 1.0}
TRAINING_FLOPS = {"cpu": 2.5e11, "cuda": 2.5e14}  # two Zen 4 cores in bf16; an H200 at 25 % MFU
SAMPLING_TOKENS = {"cpu": 600.0, "cuda": 20_000.0}  # new tokens a second at 135M; scaled below
SAMPLE_ROWS = {"sft": 256, "pairs": 551}
TOKENS = {"sft": {"sample": 154, "hub": 420}, "pairs": {"sample": 100, "hub": 640},
          "answer": {"sample": 80, "hub": 300}}
SCORED_ANSWERS = 3160  # answers of the sample that the embedded heads are fitted and tested on


@dataclass(frozen=True)
class Stage:
    """One line of the plan; seconds and peak memory are estimates."""

    name: str
    what: str
    seconds: float
    memory_gb: float


def plan_text(study: Study) -> str:
    """The plan as text: stages with minutes and memory, then downloads, disk and keys."""
    stages = list(_stages(study.profile, study.device.device.type))
    lines = [f"plan for profile {study.profile.name} ({study.device.reason}), estimates:",
             f"{'stage':<12}{'time':>14}{'memory':>10}  what"]
    lines += [f"{s.name:<12}{duration(s.seconds):>14}{s.memory_gb:>7.1f} GB  {s.what}"
              for s in stages]
    total = sum(stage.seconds for stage in stages)
    memory = max(stage.memory_gb for stage in stages)
    lines += [f"{'all':<12}{duration(total):>14}{memory:>7.1f} GB",
              f"downloads: {_downloads(study.profile)}",
              f"disk: about {_disk(study.profile):.1f} GB",
              f"keys: {_keys(study.profile)}"]
    return "\n".join(lines)


def _stages(profile: Profile, device: str) -> Iterator[Stage]:
    parameters = PARAMETERS.get(profile.model.name, 494e6)
    source = "sample" if profile.data.source == "sample" else "hub"
    rate, training = TRAINING_FLOPS[device], _training_memory(profile, parameters)
    sft = _rows(profile.data, "sft") * TOKENS["sft"][source] * profile.sft.epochs
    pairs = _rows(profile.data, "pairs") * TOKENS["pairs"][source] * profile.dpo.epochs
    answer = min(profile.sampling.max_new_tokens, TOKENS["answer"][source])
    answers = profile.evaluation.prompts * profile.sampling.samples * len(pools_of(profile))
    speed = SAMPLING_TOKENS[device] * 134.5e6 / parameters
    yield Stage("data", "read, curate, split", 5 if source == "sample" else 300, 1.0)
    yield Stage("sft", f"{sft:,.0f} tokens", 6 * parameters * sft / rate, training)
    yield Stage("rewards", f"{SCORED_ANSWERS:,} answers read twice for two heads",
                2 * parameters * SCORED_ANSWERS * 85 / rate, parameters * 4 / 1e9 + 1)
    yield Stage("dpo", f"{pairs:,.0f} tokens, and the reference once",
                8 * parameters * pairs / rate, training)
    yield Stage("responses", f"{answers:,} answers of about {answer} tokens",
                answers * answer / speed, parameters * 4 / 1e9 + 2)
    if long := deep_answers(profile):
        yield Stage("deep", f"{long:,} answers for a long Best-of-N curve",
                    long * answer / speed, parameters * 4 / 1e9 + 2)
    yield Stage("results", "statistics, figures, viewers", 60, 1.5)


def pools_of(profile: Profile) -> list[tuple[str, float]]:
    """Policies and temperatures that are sampled."""
    return pools(Study(profile, folder=None))  # the folder plays no part in the names


def _rows(data: DataSettings, kind: str) -> int:
    asked = data.sft_rows if kind == "sft" else data.preference_rows
    if data.source == "sample":
        return min(asked or SAMPLE_ROWS[kind], SAMPLE_ROWS[kind])
    return asked or 61_135


def _training_memory(profile: Profile, parameters: float) -> float:
    """Masters, gradients and two moments in float32, a bf16 copy, activations of one row, in GB."""
    width_layers = 576 * 30 if parameters < 2e8 else 896 * 24
    activations = profile.sft.token_budget * width_layers * (12 if
                                                             profile.sft.activation_checkpointing
                                                             else 80)
    return (parameters * 18 + activations) / 1e9 + 0.8


def _downloads(profile: Profile) -> str:
    parts = [f"{profile.model.name} {DOWNLOADS_GB.get(profile.model.name, 1.0):.2f} GB"]
    if profile.data.source == "hub":
        parts += [f"{profile.data.sft_path} 2.1 GB", f"{profile.data.preferences_path} 0.65 GB"]
    parts += [f"{name} (reward model)" for name in (profile.rewards.selector, profile.rewards.judge)
              if name not in ("embedded", "nemotron")]
    return "; ".join(parts)


def _disk(profile: Profile) -> float:
    parameters = PARAMETERS.get(profile.model.name, 494e6)
    models, checkpoints = 4 * parameters * 4, 3 * parameters * 12 * (1 + 1)
    return (models + checkpoints) / 1e9 + (6 if profile.data.source == "hub" else 0.2)


def _keys(profile: Profile) -> str:
    if "nemotron" not in (profile.rewards.selector, profile.rewards.judge):
        return "none"
    calls = (profile.evaluation.prompts * profile.sampling.samples * len(pools_of(profile))
             + deep_answers(profile))
    minutes = calls / profile.rewards.requests_per_minute
    state = "set" if os.environ.get("NVIDIA_API_KEY") else "not set"
    return (f"NVIDIA_API_KEY ({state}); {calls:,} calls, about {minutes:.0f} min at "
            f"{profile.rewards.requests_per_minute} a minute")
