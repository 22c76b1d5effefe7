"""The plan of a run before it starts: minutes, memory, downloads, disk, keys, API calls.

Minutes are the work that `workload` counts divided by the rates of this machine: measured for a few
seconds if the profile's device is here (`benchmark`), otherwise a share of the data sheet's
(`costs`). The plan loads no model.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.inference.judges.settings import LLM
from lib.modeling.packages import PACKAGED
from lib.runtime.devices import Device
from lib.runtime.files import shown
from lib.runtime.manifest import read_manifest
from lib.runtime.progress import duration
from lib.study.planning import requirements
from lib.study.planning.benchmark import Rates, measured_rates
from lib.study.planning.costs import BANDWIDTH_SHARE, GPUS, Gpu
from lib.study.planning.memory import Shape, sampling_bytes
from lib.study.planning.preflight import blockers, uses_api
from lib.study.planning.requirements import shape_for
from lib.study.planning.work import StageWork, lengths_of
from lib.study.planning.workload import AUDIT_ANSWERS, beside_stages, planned_work
from lib.study.profiles import Profile
from lib.study.reward_models.api import api_settings
from lib.study.run import Study
from lib.study.seeds import seed_runs

DOWNLOADS_GB = {"smoke": 0.0, "Qwen/Qwen2.5-0.5B": 1.0} | {
    name: model.megabytes / 1000 for name, model in PACKAGED.items()}
TERMS = {name: model.terms for name, model in PACKAGED.items()}
MEMORY_GB = {"data": 1.0, "rewards": 2.0, "selection": 1.5, "movement": 3.8, "results": 3.8}
TRAINED = ("sft", "dpo", "warning", "beyond")  # stages that write models
WORTH = 60.0  # seconds that a shorter run must save to be named
NAMED = 4  # settings at most


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan; seconds and peak memory are estimates."""

    name: str
    work: str
    seconds: float
    memory_gb: float
    notebook: str = ""

    def line(self) -> str:
        """Name, time, memory and work in aligned columns."""
        time = duration(self.seconds)
        return f"{self.name:<12}{time:>14}{self.memory_gb:>7.1f} GB  {self.work}".rstrip()


@dataclass(frozen=True)
class Plan:
    """A run's stages, the seconds of each notebook with its stages, and the rates behind them.

    times: how often each stage is made, once for each seed that lacks it.
    """

    stages: list[PlannedStage]
    notebooks: Mapping[str, float]
    rates: Rates
    times: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """Seconds of all notebooks."""
        return sum(self.notebooks.values())


def plan_of(study: Study, processes: int = 1, sharded: bool = False,
            notebooks: Sequence[str] = (), seeds: int = 1) -> Plan:
    """What is not yet done of the run takes so long on this machine, which is measured.

    notebooks: names of those that run, all if none is named; seeds: as of `--seeds`.
    """
    profile, device, shape = study.profile, study.device, shape_for(study.profile)
    rates = rates_of(profile, device)
    if device.device.type == "cuda":  # on a CPU the processes share the cores
        rates = replace(rates, **{name: processes * getattr(rates, name) for name in (
            "training", "updating", "reading", "sampling")})
    beside = {name: work.takes(shape, rates) * seeds
              for name, work in beside_stages(profile).items() if name in (notebooks or [name])}
    times = _times_made(study, beside, seeds)
    stages = [_planned(study, rates, stage, processes, sharded, times[stage.name])
              for stage in planned_work(profile) if stage.notebook in beside]
    return Plan(stages, {name: seconds + sum(stage.seconds for stage in stages
                                             if stage.notebook == name)
                         for name, seconds in beside.items()}, rates, times)


def _times_made(study: Study, notebooks: Collection[str], seeds: int) -> Counter[str]:
    """How many of the seeds' runs have not finished each stage of these notebooks."""
    return Counter(stage.name for one in seed_runs(study, seeds)
                   for stage in planned_work(study.profile) if stage.notebook in notebooks
                   and (study.force or not read_manifest(one.path(stage.name))))


def _planned(study: Study, rates: Rates, stage: StageWork, processes: int, sharded: bool,
             times: int) -> PlannedStage:
    profile, trains = study.profile, "dpo" if stage.name == "beyond" else stage.name
    memory = MEMORY_GB.get(stage.name) or (
        requirements.training_gb(profile, study.device, trains, processes, sharded)
        if trains in ("sft", "dpo", "warning") else requirements.sampling_gb(profile))
    work = (stage.text if times == 1 else f"{times} times: {stage.text}" if times
            else "found; made again only where what it reads has changed")
    return PlannedStage(stage.name, work,
                        times * stage.work.takes(shape_for(profile), rates, stage.updated), memory,
                        stage.notebook)


def plan_text(study: Study, processes: int = 1, sharded: bool = False,
              plan: Plan | None = None) -> str:
    """The plan as text: stages and notebooks with minutes, what would be shorter, what it needs."""
    profile, device = study.profile, study.device
    plan = plan or plan_of(study, processes, sharded)
    total = PlannedStage("all", "notebooks and stages, and at first a trial of half a minute",
                         plan.seconds, max((stage.memory_gb for stage in plan.stages), default=1))
    trainings = max(plan.times.get(name, 0) for name in TRAINED)
    disk = max(requirements.FILES_GB, trainings * requirements.disk_gb(profile))
    problems = [f"cannot run here: {problem}" for problem in blockers(study, processes, sharded)]
    return "\n".join([
        f"plan for profile {profile.name} ({device.reason}), estimates:",
        f"{'stage':<12}{'time':>14}{'memory':>10}  work",
        *(stage.line() for stage in [*plan.stages, total]),
        "notebooks: " + ", ".join(f"{name} {duration(seconds)}"
                                  for name, seconds in plan.notebooks.items()),
        f"rates: {rates_text(profile, plan.rates)}", *_shorter_lines(profile, plan),
        f"downloads: {_downloads(profile)}", f"disk: about {disk:.1f} GB",
        f"keys: {_keys(profile)}", *_chat_judge_lines(study),
        *([f"from {shown(study.from_run)}: what it made with equal settings is copied, so that the "
           "times above are the most that this takes"] if study.from_run else []),
        *(problems or ["memory, disk and keys: enough for it here"])])


def rates_text(profile: Profile, rates: Rates) -> str:
    """The rates in tokens a second of the profile's model, and where they come from."""
    shape = shape_for(profile)
    layers = shape.layers * shape.layer_parameters
    return (f"training {rates.training / (6 * shape.parameters):,.0f}, reading "
            f"{rates.reading / (2 * layers):,.0f}, sampling "
            f"{rates.sampling / (2 * shape.parameters):,.0f} tokens/s, {rates.origin}")


def rates_of(profile: Profile, device: Device) -> Rates:
    """The rates measured here, or computed from a T4's data sheet for float16 on a CPU."""
    shape, card = shape_for(profile), _card(device)
    if device.device.type != "cpu" or card is None:
        return measured_rates(shape, device, min(profile.sampling.rows, 64))
    rate = card.peak_flops * card.share
    return Rates(rate, card.bandwidth * BANDWIDTH_SHARE / 32, rate,
                 2 * shape.parameters * _sampled_tokens(shape, profile, card),
                 f"computed: {card.share:.0%} of a {card.name}'s data sheet, because there is no "
                 "GPU here")


def _card(device: Device) -> Gpu | None:
    """A T4 for float16 without a GPU."""
    import torch
    return GPUS[0] if device.dtype == torch.float16 else None


def _sampled_tokens(shape: Shape, profile: Profile, card: Gpu) -> float:
    """New tokens a second where every step reads all weights once, or launches its kernels."""
    step = sampling_bytes(shape, profile.sampling.rows, 512) / (card.bandwidth * BANDWIDTH_SHARE)
    return profile.sampling.rows / max(step, 0.4e-3 * shape.layers)


def shorter(profile: Profile, rates: Rates,
            times: Mapping[str, int] | None = None) -> list[tuple[str, float]]:
    """Settings that would make the run shorter, and the seconds that each saves alone.

    times: how often each stage is made; once without.
    """
    now, found = _seconds(profile, rates, times), []
    for section, changes in _smaller(profile):
        changed = replace(getattr(profile, section), **changes)
        saved = now - _seconds(replace(profile, **{section: changed}), rates, times)
        text = " ".join(f"{section}.{key}={_written(value)}" for key, value in changes.items())
        found += [(text, saved)] * (saved >= WORTH)
    return sorted(found, key=lambda pair: -pair[1])[:NAMED]


def _smaller(profile: Profile) -> Iterator[tuple[str, dict[str, object]]]:
    """Sections of the profile and changes in them that leave the study's main questions."""
    evaluation, least = profile.evaluation, profile.sampling.samples + 1
    half = max(1, evaluation.prompts // 2)
    yield "evaluation", {"candidates": min(evaluation.candidates, least)}
    yield "evaluation", {"prompts": half,
                         "temperature_prompts": min(evaluation.temperature_prompts, half)}
    yield "evaluation", {"temperatures": (profile.sampling.temperature,)}
    yield "evaluation", {"warning_run": False}
    yield "evaluation", {"probe_prompts": 0}
    yield "evaluation", {"deep_samples": 0}
    yield "beyond", {"arms": ()}


def _seconds(profile: Profile, rates: Rates, times: Mapping[str, int] | None) -> float:
    """All stages, each so many times, with these rates."""
    return sum(stage.work.takes(shape_for(profile), rates, stage.updated)
               * (1 if times is None else times.get(stage.name, 0))
               for stage in planned_work(profile))


def _written(value: object) -> str:
    """A value as `--set` takes it."""
    text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple) else str(value)
    return text.lower()


def _shorter_lines(profile: Profile, plan: Plan) -> list[str]:
    found = [f"--set {text} saves {duration(saved)}"
             for text, saved in shorter(profile, plan.rates, plan.times)]
    return [f"shorter: {', '.join(found)}"] if found else []


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
    answer = round(min(profile.sampling.max_new_tokens, lengths_of(profile).answer))
    state = "set" if os.environ.get(settings.key_variable) else "not set"
    return [f"judge: {settings.model} at {settings.base_url} ({settings.style}), at most about "
            f"{planned_costs(profile, pairs, answer).text()}; {settings.key_variable} ({state})"]
