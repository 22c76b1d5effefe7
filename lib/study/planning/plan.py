"""What a run would take, before it starts: downloads, disk, memory, keys, API calls, minutes.

Memory is counted (`lib.study.planning.requirements`). Minutes are arithmetic (6 operations a parameter and token
for training, 2 for reading or writing) over a rate: measured by a warm-up of a second or two where
the profile's device is present, else the data sheet's with a stated share (`lib.study.planning.costs`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lib.runtime.devices import Device
from lib.runtime.progress import duration
from lib.study.planning.access import api_settings
from lib.study.planning.benchmark import training_rate
from lib.study.planning.costs import (
    ANSWER_TOKENS,
    BANDWIDTH_SHARE,
    GPUS,
    PAIR_TOKENS,
    SFT_TOKENS,
    Gpu,
)
from lib.study.planning.memory import SHAPES, Shape, sampling_bytes
from lib.study.planning.preflight import refusals
from lib.study.planning.requirements import (
    answers_of,
    deep_answers,
    disk_gb,
    rows_of,
    sampling_gb,
    shape_for,
    training_gb,
)
from lib.study.profiles import Profile
from lib.study.run import Study

DOWNLOADS_GB = {"packaged": 0.09, "smoke": 0.0, "Qwen/Qwen2.5-0.5B": 1.0}
SAMPLING_TOKENS = 600.0  # new tokens a second of the packaged model on two CPU cores, measured
TOKENS = {"sft": {"sample": 154, "hub": SFT_TOKENS}, "pairs": {"sample": 100, "hub": PAIR_TOKENS},
          "answer": {"sample": 80, "hub": ANSWER_TOKENS}}
SCORED_ANSWERS = 3160  # answers of the sample that the embedded heads are fitted and tested on
AUDIT_ANSWERS = 480  # answers of the audit, which every judge scores once


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
    stages = list(_stages(profile, device, rate, processes, sharded))
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
    if device.device.type == "cpu" and (card := _card(device)):
        rate = card.peak_flops * card.share
        return rate, (f"{rate / 1e9:,.0f} GFLOP/s, computed: {card.share:.0%} of a {card.name}'s "
                      "data sheet, because there is no GPU here")
    measured = training_rate(shape_for(profile), device)
    return measured, (f"{measured / 1e9:,.0f} GFLOP/s on {device.device.type}, measured by training"
                      " two layers of this width for a second")


def _card(device: Device) -> Gpu | None:
    """The GPU that is here, a T4 for float16 without one, and None for a CPU."""
    if device.device.type == "cpu":
        return GPUS[0] if device.dtype == torch.float16 else None
    name = torch.cuda.get_device_name(device.device)
    return next((gpu for gpu in GPUS if gpu.name in name), GPUS[0])


def _stages(profile: Profile, device: Device, rate: float, processes: int,
            sharded: bool) -> Iterator[Stage]:
    shape = shape_for(profile)
    source = "sample" if profile.data.source == "sample" else "hub"
    gpus = processes if device.device.type == "cuda" else 1  # processes share a CPU's cores
    rate, sampling = rate * gpus, gpus * _sampling_rate(shape, profile, device)
    memory = {name: training_gb(profile, device, name, processes, sharded)
              for name in ("sft", "dpo")}
    sft = rows_of(profile.data, "sft") * TOKENS["sft"][source] * profile.sft.epochs
    pairs = rows_of(profile.data, "pairs") * TOKENS["pairs"][source] * profile.dpo.epochs
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
                answers * answer / sampling, sampling_gb(profile))
    if long := deep_answers(profile):
        yield Stage("deep", f"{long:,} answers for a long Best-of-N curve",
                    long * answer / sampling, sampling_gb(profile))
    yield Stage("results", "statistics, figures, viewers", 60, 1.5)


def _sampling_rate(shape: Shape, profile: Profile, device: Device) -> float:
    """New tokens a second: from the measured CPU rate, or the weights read once a step."""
    card, rows = _card(device), profile.sampling.rows
    if card is None:
        return SAMPLING_TOKENS * SHAPES["packaged"].parameters / shape.parameters
    step = sampling_bytes(shape, rows, 512) / (card.bandwidth * BANDWIDTH_SHARE)
    return rows / max(step, 0.4e-3 * shape.layers)  # or the launch of kernels


def _downloads(profile: Profile) -> str:
    model, data = profile.model.name, profile.data
    size = 0.0 if Path(model).exists() else DOWNLOADS_GB.get(model, 1.0)
    parts = [f"{model} {size:.2f} GB"]
    if data.source == "hub":
        how = ", parts with a number of rows as a stream" if data.streaming else ""
        parts += [f"{path} {size} GB{how}" for path, size in ((data.sft_path, 2.1),
                                                              (data.preferences_path, 0.65))
                  if not Path(path).exists()]
    parts += [f"{name} (reward model)" for name in (profile.rewards.selector, profile.rewards.judge)
              if name not in ("embedded", "nemotron") and not Path(name).exists()]
    return "; ".join(parts)


def _keys(profile: Profile) -> str:
    if "nemotron" not in (profile.rewards.selector, profile.rewards.judge):
        return "none"
    calls = answers_of(profile) + deep_answers(profile) + AUDIT_ANSWERS
    rate = api_settings(profile.rewards)
    variable = profile.rewards.key_variable
    state = "set" if os.environ.get(variable) else "not set"
    return (f"{variable} ({state}); {calls:,} calls, about "
            f"{calls / rate.calls_per_minute:.0f} min at {rate.calls_per_minute:,.0f} a minute")
