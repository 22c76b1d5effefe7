"""Profiles: every setting of a run, checked when it is built.

`load_profile` takes a preset's name (smoke, laptop, gemma, paper, t4) or a YAML file with `base:`
and overrides, and settings such as `{"dpo.beta": 0.2}`. A setting that cannot be used is one
sentence with its key, its value and what is allowed.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter

from lib.data.settings import DataSettings
from lib.inference.judges.settings import LLM, ChatJudgeSettings
from lib.inference.sampling_settings import SamplingSettings
from lib.runtime.settings import build, checked
from lib.runtime.typed import load_yaml, typed
from lib.study.beyond.settings import BeyondSettings
from lib.study.presets import PRESETS
from lib.training.settings import DPOSettings, RewardModelSettings, SFTSettings


class ProfileError(ValueError):
    """A profile or a setting that cannot be used; the text is one sentence."""


@checked
class ModelSettings:
    """The policy's base model, and how it computes."""

    name: str = "packaged"  # packaged, smoke, a local folder, or a hub id
    revision: str | None = None  # hub commit; null takes the newest
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of matrix products
    attention: Literal["auto", "segments", "flex", "masked"] = "auto"  # for packed rows


@checked
class RewardSettings:
    """The reward model that selects among candidates, and another one that judges."""

    selector: str = "embedded"  # embedded, nemotron, or a classifier: a folder, hub id, id@commit
    judge: str = "embedded"  # or llm, the chat model of section llm_judge; embedded heads of the
    # two roles are fitted on disjoint data
    backbone: str = "packaged"  # model whose hidden states the embedded heads read
    base_url: str = "https://integrate.api.nvidia.com/v1"  # nemotron: hosted, or your own NIM
    api_model: str = "nvidia/llama-3.1-nemotron-70b-reward"  # nemotron: the name it is served by
    key_variable: str = "NVIDIA_API_KEY"  # nemotron: environment variable that holds the key
    requests_per_minute: int | None = Field(None, ge=1)  # null: 40 at NVIDIA, its trial's limit
    fallback: str = "Skywork/Skywork-Reward-V2-Llama-3.2-1B"  # for a retired nemotron

    def __post_init__(self) -> None:
        if self.judge == self.fallback or self.selector == self.judge != "embedded":
            other = "fallback" if self.judge == self.fallback else "selector"
            raise ValueError(f"rewards.judge and rewards.{other} are both {self.judge!r}; the "
                             "judge must not be the selector")
        if self.selector == LLM:
            raise ValueError(f"rewards.selector is {LLM!r}, which compares two answers and scores "
                             "none; use embedded, nemotron, or a classifier")

    @property
    def scoring(self) -> "RewardSettings":
        """The same with a judge that scores: beside a chat model the embedded one does."""
        return replace(self, judge="embedded") if self.judge == LLM else self


@checked
class EvaluationSettings:
    """The comparisons on the held-out prompts."""

    prompts: int = Field(200, ge=1)  # seeded, balanced over sources; the sample has 200
    candidates: int = Field(8, ge=2)  # answers a prompt of SFT and DPO; comparisons average over
    base_candidates: int = Field(4, ge=1)  # all pairs of them. And of the base model
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.1, 0.25, 0.6, 1.0), min_length=1)  # of DPO's Best-of-N; the paper's
    temperature_prompts: int = Field(64, ge=1)  # of `prompts`, at temperatures but the main one
    deep_samples: int = Field(0, ge=0)  # candidates a prompt of a long curve, 16 or 64; 0: none
    deep_prompts: int = Field(16, ge=1)  # held-out prompts of the long curve, balanced over sources
    resamples: int = Field(10_000, ge=1)  # bootstrap resamples over prompts
    rerank_base: bool = False  # Best-of-N of the base model too: base+bon and base+random
    probe_prompts: int = Field(32, ge=0)  # validation prompts judged while DPO trains; 0: none
    warning_run: bool = True  # notebook 03: four short runs, kind of pairs times learning rate
    warning_pairs: int = Field(48, ge=1)  # pairs of each of them, one a prompt

    def __post_init__(self) -> None:
        if self.deep_samples == 1:
            raise ValueError("evaluation.deep_samples is 1; use 0 for no long curve, or at least 2")
        if self.temperature_prompts > self.prompts:
            raise ValueError(f"evaluation.temperature_prompts is {self.temperature_prompts} of "
                             f"evaluation.prompts = {self.prompts}; use at most {self.prompts}")


@checked
class Profile:
    """Every setting of a run; `lib.study.presets` says what each size is for."""

    name: str = "laptop"
    seed: int = 0
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    sft: SFTSettings = field(default_factory=SFTSettings)
    dpo: DPOSettings = field(default_factory=DPOSettings)
    warning: DPOSettings = field(default_factory=DPOSettings)  # notebook 03's, at its high rate
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    rewards: RewardSettings = field(default_factory=RewardSettings)
    reward_model: RewardModelSettings = field(default_factory=RewardModelSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    llm_judge: ChatJudgeSettings = field(default_factory=ChatJudgeSettings)
    beyond: BeyondSettings = field(default_factory=BeyondSettings)

    def __post_init__(self) -> None:
        if self.sampling.seed:
            raise ValueError(f"sampling.seed is {self.sampling.seed}; set seed, which training and "
                             "sampling share")
        if self.sampling.stream:
            raise ValueError(f"sampling.stream is {self.sampling.stream!r}; leave it out, because "
                             "each pool has its own")
        if self.sampling.samples < 2:
            raise ValueError(f"sampling.samples is {self.sampling.samples}; the best of one answer "
                             "is that answer, use at least 2")
        self._check_chat_judge()
        self._check_pairs()
        self._check_candidates("candidates")
        if self.evaluation.rerank_base:
            self._check_candidates("base_candidates")

    def _check_chat_judge(self) -> None:
        rewards, model = self.rewards, self.llm_judge.model
        if rewards.judge != LLM:
            return
        if not model:
            raise ValueError(f"llm_judge.model is ''; name the chat model that judges, as the "
                             f"server at {self.llm_judge.base_url} serves it")
        if model == (rewards.api_model if rewards.selector == "nemotron" else rewards.selector):
            raise ValueError(f"llm_judge.model is {model!r}, which is the selector; the judge must "
                             "not be the selector")

    def _check_pairs(self) -> None:
        """What DPO's settings need of its pairs and of the probe."""
        data, dpo = self.data, self.dpo
        if data.curriculum and not dpo.keeps_order:
            raise ValueError(f"data.curriculum is {data.curriculum} and dpo.order is null, which "
                             "would shuffle it away; set dpo.order=file")
        if dpo.loss == "bonbon" and (data.pairs == "written"
                                     or data.pairs_per_prompt != "best_worst"):
            raise ValueError("dpo.loss is bonbon, whose pairs are the best and the worst of "
                             f"dpo.best_of = {dpo.best_of} answers of the model itself; set "
                             "data.pairs_per_prompt=best_worst, and data.pairs to on_policy or "
                             "self_generated")
        if dpo.loss == "bonbon" and data.pairs == "self_generated" \
                and dpo.best_of != data.pair_samples:
            raise ValueError(f"dpo.best_of is {dpo.best_of}, and the pairs are best and worst of "
                             f"data.pair_samples = {data.pair_samples}; set both alike")
        if self.dpo.kl_target and not self.evaluation.probe_prompts:
            raise ValueError(f"dpo.kl_target is {self.dpo.kl_target:g} with evaluation."
                             "probe_prompts 0, so that no KL would be measured; use at least 1")

    def _check_candidates(self, key: str) -> None:
        """The best of N against a single answer of its own pool leaves that answer out."""
        found, n = getattr(self.evaluation, key), self.sampling.samples
        if found <= n:
            raise ValueError(f"evaluation.{key} is {found}; the best of sampling.samples = {n} "
                             f"against one other answer of its pool needs at least {n + 1}")


def load_profile(name: str, settings: Mapping[str, Any] | None = None) -> Profile:
    """A preset or a YAML file as a Profile, with `settings` (dotted keys) on top.

    Raises ProfileError.
    """
    layers: list[Mapping[str, Any]]
    if name in PRESETS:
        layers, base = [PRESETS[name]], name
    elif name.endswith((".yaml", ".yml")):
        layers, base = _yaml_layers(Path(name).expanduser()), Path(name).stem
    else:
        raise ProfileError(f"profile is {name!r}; use {', '.join(PRESETS)} or a YAML file that "
                           "exists")
    values: dict[str, Any] = {"name": base}
    for layer in [*layers, settings or {}]:
        values = _overlaid(values, layer)
    try:
        return build(Profile, _at_home(typed(values, _schema())))
    except ValueError as error:
        raise ProfileError(str(error)) from None


def _yaml_layers(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ProfileError(f"cannot read profile {path}: {reason}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"profile {path} holds {type(content).__name__}; write `base: laptop` "
                           "and overrides such as `dpo: {beta: 0.2}`")
    base = content.pop("base", "laptop")
    if base not in PRESETS:
        raise ProfileError(f"{path}: base is {base!r}; use one of {', '.join(PRESETS)}")
    return [PRESETS[base], content]


def _overlaid(values: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Values with a layer's on top; a layer's keys may be dotted, its sections nested."""
    overlaid = dict(values)
    for key, value in layer.items():
        first, _, rest = str(key).partition(".")
        value = {rest: value} if rest else value
        if isinstance(value, Mapping):
            under = overlaid.get(first)
            value = _overlaid(under if isinstance(under, Mapping) else {}, value)
        overlaid[first] = value
    return overlaid


def _at_home(value: Any) -> Any:
    """The values with a person's home for `~`, which no shell expands behind an equals sign."""
    if isinstance(value, Mapping):
        return {key: _at_home(item) for key, item in value.items()}
    return str(Path(value).expanduser()) if str(value).startswith(("~/", "~\\")) else value


def parse_setting(text: str) -> tuple[str, Any]:
    """`dpo.beta=0.2` -> `("dpo.beta", 0.2)`; the value is read as YAML. Raises ProfileError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ProfileError(f"--set {text}: write it as key=value, for example dpo.beta=0.2")
    try:
        parsed = load_yaml(value)
    except yaml.YAMLError as error:
        raise ProfileError(f"--set {text}: the value is not valid YAML") from error
    return key, typed(parsed, _schema(), tuple(key.split(".")))


@cache
def _schema() -> Mapping[str, Any]:
    """The JSON schema of a profile, which knows the type of each setting."""
    return TypeAdapter(Profile).json_schema()
