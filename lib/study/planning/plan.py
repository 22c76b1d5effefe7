"""The plan of a run before it starts: minutes, memory, downloads, disk, keys, API calls.

Minutes are operations (6 a parameter and token for training, 2 for a forward pass) divided by a
rate: measured for 0.3 seconds if the profile's device is here, otherwise a share of the data
sheet's (`costs`). The plan loads no model.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lib.inference.judges.settings import LLM
from lib.modeling.packages import PACKAGED
from lib.runtime.devices import Device
from lib.runtime.files import shown
from lib.runtime.progress import duration
from lib.study.planning import requirements
from lib.study.planning.benchmark import training_rate
from lib.study.planning.costs import BANDWIDTH_SHARE, GPUS, Gpu
from lib.study.planning.memory import SHAPES, Shape, sampling_bytes, shape_of
from lib.study.planning.preflight import blockers, uses_api
from lib.study.planning.requirements import shape_for
from lib.study.profiles import Profile
from lib.study.reward_models.api import api_settings
from lib.study.run import Study

DOWNLOADS_GB = {"smoke": 0.0, "Qwen/Qwen2.5-0.5B": 1.0} | {
    name: model.megabytes / 1000 for name, model in PACKAGED.items()}
TERMS = {name: model.terms for name, model in PACKAGED.items()}
SAMPLING_TOKENS = 600.0  # new tokens a second of the packaged model on two CPU cores, measured
TOKENS = {"sft": {"sample": 154, "hub": requirements.SFT_TOKENS},
          "pairs": {"sample": 100, "hub": requirements.PAIR_TOKENS}, "other_pairs": {"sample": 100},
          "one_a_prompt": {"sample": 190, "hub": requirements.PAIR_TOKENS},
          "answer": {"sample": 80, "hub": requirements.ANSWER_TOKENS}}
SCORED_ANSWERS = 5080  # answers of the sample on which the embedded heads are fitted and tested
AUDIT_ANSWERS = 480  # answers of the audit, which every judge scores once


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan; seconds and peak memory are estimates."""

    name: str
    work: str
    seconds: float
    memory_gb: float

    def line(self) -> str:
        """Name, time, memory and work in aligned columns."""
        time = duration(self.seconds)
        return f"{self.name:<12}{time:>14}{self.memory_gb:>7.1f} GB  {self.work}".rstrip()


def plan_text(study: Study, processes: int = 1, sharded: bool = False) -> str:
    """The plan as text: stages with minutes and memory, then downloads, disk, keys, blockers."""
    profile, device = study.profile, study.device
    rate, origin = rate_of(profile, device)
    stages = list(_stages(profile, device, rate, processes, sharded))
    total = PlannedStage("all", "", sum(stage.seconds for stage in stages),
                         max(stage.memory_gb for stage in stages))
    problems = [f"cannot run here: {problem}" for problem in blockers(study, processes, sharded)]
    return "\n".join([
        f"plan for profile {profile.name} ({device.reason}), estimates:",
        f"{'stage':<12}{'time':>14}{'memory':>10}  work",
        *(stage.line() for stage in [*stages, total]), f"rate: {origin}",
        f"downloads: {_downloads(profile)}", f"disk: about {requirements.disk_gb(profile):.1f} GB",
        f"keys: {_keys(profile)}", *_chat_judge_lines(study),
        *([f"from {shown(study.from_run)}: what it made with equal settings is copied, so that the "
           "times above are the most that this takes"] if study.from_run else []),
        *(problems or ["memory, disk and keys: enough for it here"])])


def rate_of(profile: Profile, device: Device) -> tuple[float, str]:
    """Training FLOP/s and its origin: measured here, or a T4's data sheet for float16 on a CPU."""
    if device.device.type == "cpu" and (card := _card(device)):
        rate = card.peak_flops * card.share
        return rate, (f"{rate / 1e9:,.0f} GFLOP/s, computed: {card.share:.0%} of a {card.name}'s "
                      "data sheet, because there is no GPU here")
    measured = training_rate(shape_for(profile), device)
    return measured, (f"{measured / 1e9:,.0f} GFLOP/s on {device.device.type}, measured by training"
                      " two layers of this width for a moment")


def _card(device: Device) -> Gpu | None:
    """The GPU of this machine, a T4 for float16 without one, and None for a CPU."""
    import torch
    if device.device.type != "cuda":
        return GPUS[0] if device.dtype == torch.float16 else None
    name = torch.cuda.get_device_name(device.device)
    return next((gpu for gpu in GPUS if gpu.name in name), GPUS[0])


def _stages(profile: Profile, device: Device, rate: float, processes: int,
            sharded: bool) -> Iterator[PlannedStage]:
    shape, source = shape_for(profile), _source(profile)
    gpus = processes if device.device.type == "cuda" else 1  # processes share a CPU's cores
    rate, sampling = rate * gpus, gpus * _sampling_rate(shape, profile, device)
    answer = min(profile.sampling.max_new_tokens, TOKENS["answer"][source])
    sampling_gb = requirements.sampling_gb(profile)

    def training(name: str, rows: str, note: str = "") -> PlannedStage:
        """A training stage; DPO's reference reads all tokens once more."""
        settings = getattr(profile, name)
        tokens = (requirements.training_rows(profile.data, rows) * TOKENS[rows][source]
                  * settings.epochs)
        operations = (4 if settings.lora_rank else 6) + 2 * (name != "sft")  # frozen: no gradient
        operations += 2 * settings.activation_checkpointing
        return PlannedStage(name, f"{tokens:,.0f} tokens{note}",
                            operations * shape.parameters * tokens / rate,
                            requirements.training_gb(profile, device, name, processes, sharded))

    def sampled(name: str, answers: int, work: str) -> PlannedStage:
        """A stage that samples answers."""
        return PlannedStage(name, f"{answers:,} answers {work}", answers * answer / sampling,
                            sampling_gb)

    yield PlannedStage("data", "read, curate, split", 5 if source == "sample" else 300, 1.0)
    yield training("sft", "sft")
    if "embedded" in (profile.rewards.selector, profile.rewards.scoring.judge):
        yield _rewards(profile.rewards.backbone, rate)
    if own := requirements.pair_answers(profile):
        yield sampled("pairs", own, "of the SFT model, from which its pairs are made")
    if beside := requirements.filter_answers(profile):
        yield sampled("chosen_pairs", beside, "of the SFT model, beside which pairs are filtered")
    yield training("dpo", "one_a_prompt" if own else "pairs", ", and the reference once")
    if (source == "sample" or own) and profile.evaluation.warning_run:
        yield _warning(profile, "one_a_prompt" if own else "other_pairs", training)
    yield sampled("responses", requirements.answers_of(profile), f"of about {answer} tokens")
    if deep := requirements.deep_answers(profile):
        yield sampled("deep", deep, "for a long Best-of-N curve")
    yield PlannedStage("results", "statistics, figures, viewers", 60, 1.5)


def _rewards(backbone: str, rate: float) -> PlannedStage:
    """The heads' fit; the sample's features of the packaged model are shipped (data/features)."""
    if backbone == "packaged":
        return PlannedStage("rewards", "heads fitted on shipped features", 30, 2.0)
    shape = shape_of(backbone) or SHAPES["Qwen/Qwen2.5-0.5B"]
    return PlannedStage("rewards", f"{SCORED_ANSWERS:,} answers read twice for the heads",
                        4 * shape.parameters * SCORED_ANSWERS * 85 / rate, 2.0)


def _warning(profile: Profile, rows: str,
             training: Callable[[str, str], PlannedStage]) -> PlannedStage:
    """The warning's four runs, from one pass over all of the sample's other pairs."""
    once = training("warning", rows)
    share = profile.evaluation.warning_pairs / requirements.SAMPLE_ROWS[rows]
    return replace(once, work=f"4 runs on {profile.evaluation.warning_pairs} pairs each",
                   seconds=4 * min(1.0, share) * once.seconds)


def _source(profile: Profile) -> str:
    return "sample" if profile.data.source == "sample" else "hub"


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
    parts = [f"{model} {size:.2f} GB" + (f" ({TERMS[model]})" if TERMS.get(model) else "")]
    backbone = profile.rewards.backbone
    if backbone != model and "embedded" in (profile.rewards.selector,
                                            profile.rewards.scoring.judge):
        parts.append(f"{backbone} {DOWNLOADS_GB.get(backbone, 1.0):.2f} GB (reads answers for the "
                     "reward heads)")
    if data.source == "hub":
        how = ", parts with a number of rows as a stream" if data.streaming else ""
        parts += [f"{path} {size} GB{how}" for path, size in ((data.sft_path, 2.1),
                                                              (data.preferences_path, 0.65))
                  if not Path(path).exists()]
    parts += [f"{name} (reward model)" for name in (profile.rewards.selector,
                                                    profile.rewards.scoring.judge)
              if name not in ("embedded", "nemotron") and not Path(name).exists()]
    return "; ".join(parts)


def _keys(profile: Profile) -> str:
    if not uses_api(profile):
        return "none"
    calls = (requirements.answers_of(profile) + requirements.deep_answers(profile)
             + AUDIT_ANSWERS)
    rate, variable = api_settings(profile.rewards).calls_per_minute, profile.rewards.key_variable
    state = "set" if os.environ.get(variable) else "not set"
    return (f"{variable} ({state}); {calls:,} calls, about {calls / rate:.0f} min at {rate:,.0f} "
            "a minute")


def _chat_judge_lines(study: Study) -> list[str]:
    """The most that a chat model that judges will be asked, and its price; nothing without one."""
    profile, settings = study.profile, study.profile.llm_judge
    if profile.rewards.judge != LLM:
        return []
    from lib.study.reward_models.chat_judge import planned_costs  # these take seconds to import
    from lib.study.stages.results import comparisons
    pairs = [comparison[:2] for comparison in comparisons(study)]
    answer = min(profile.sampling.max_new_tokens, TOKENS["answer"][_source(profile)])
    state = "set" if os.environ.get(settings.key_variable) else "not set"
    return [f"judge: {settings.model} at {settings.base_url} ({settings.style}), at most about "
            f"{planned_costs(profile, pairs, answer).text()}; {settings.key_variable} ({state})"]
