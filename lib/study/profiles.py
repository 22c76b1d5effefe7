"""Profiles: every setting of a run, checked when it is built.

`load_profile` takes a preset's name (smoke, laptop, paper, t4) or a YAML file with `base:` and
overrides, and settings such as `{"dpo.beta": 0.2}`. An unknown key, a wrong type or an impossible
value stops with one sentence that names the key, the value and what is allowed.
"""

import difflib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from lib.data.settings import DataSettings
from lib.inference.sampling_settings import SamplingSettings
from lib.training.settings import DPOSettings, RewardModelSettings, SFTSettings


class ProfileError(ValueError):
    """A profile or a setting that cannot be used, said in one sentence."""


@dataclass(frozen=True)
class ModelSettings:
    """The policy that is trained, and how it computes."""

    name: str = "packaged"  # packaged, smoke, a local folder, or a hub id
    revision: str | None = None  # hub commit; null takes the newest
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of matrix products
    attention: Literal["auto", "segments", "flex", "masked"] = "auto"  # for packed rows


@dataclass(frozen=True)
class RewardSettings:
    """Which reward model selects among candidates and which one judges; never the same."""

    selector: str = "embedded"  # embedded, nemotron, or a classifier: a folder, hub id, id@commit
    judge: str = "embedded"  # embedded heads are fitted on disjoint data for the two roles
    backbone: str = "packaged"  # model whose hidden states the embedded heads read
    base_url: str = "https://integrate.api.nvidia.com/v1"  # nemotron: hosted, or your own NIM
    api_model: str = "nvidia/llama-3.1-nemotron-70b-reward"  # nemotron: the name it is served by
    key_variable: str = "NVIDIA_API_KEY"  # nemotron: environment variable that holds the key
    requests_per_minute: int | None = None  # null: 40 for NVIDIA's, as its trial allows
    fallback: str = "Skywork/Skywork-Reward-V2-Llama-3.2-1B"  # where nemotron's endpoint is gone


@dataclass(frozen=True)
class EvaluationSettings:
    """What is compared on the held-out prompts."""

    prompts: int = 64  # seeded, balanced over sources; 200 takes all of the sample's
    temperatures: tuple[float, ...] = (0.1, 0.25, 0.6, 1.0)  # of DPO's Best-of-N; the paper's
    deep_samples: int = 0  # candidates a prompt for a long curve, 16 or 64; 0: none
    deep_prompts: int = 16  # held-out prompts that get so many, balanced over sources
    resamples: int = 10_000  # bootstrap resamples over prompts
    rerank_base: bool = False  # N candidates from the base model too, for base+bon and base+random
    probe_prompts: int = 32  # validation prompts answered and judged while DPO trains; 0: none

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise ValueError(f"prompts is {self.prompts}; use at least 1")
        if self.deep_samples < 0 or self.deep_samples == 1 or self.deep_prompts < 1:
            raise ValueError(f"deep_samples is {self.deep_samples} and deep_prompts "
                             f"{self.deep_prompts}; use 0 for no long curve, or at least 2 "
                             "candidates on at least 1 prompt")
        if any(t < 0 for t in self.temperatures) or not self.temperatures:
            raise ValueError(f"temperatures is {self.temperatures}; use one or more, 0 or above")


@dataclass(frozen=True)
class Profile:
    """Every setting of a run; the presets below say what each size is for."""

    name: str = "laptop"
    seed: int = 0
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    sft: SFTSettings = field(default_factory=SFTSettings)
    dpo: DPOSettings = field(default_factory=DPOSettings)
    dpo_other: DPOSettings = field(default_factory=DPOSettings)  # notebook 03's warning
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    rewards: RewardSettings = field(default_factory=RewardSettings)
    reward_model: RewardModelSettings = field(default_factory=RewardModelSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


def load_profile(name: str, settings: Mapping[str, Any] | None = None) -> Profile:
    """A preset or a YAML file as a Profile, with `settings` (dotted keys) on top.

    Raises ProfileError.
    """
    from lib.study.presets import PRESETS
    layers: list[Mapping[str, Any]] = []
    if name in PRESETS:
        layers, base = [PRESETS[name]], name
    elif name.endswith((".yaml", ".yml")):
        layers, base = _yaml_layers(Path(name)), Path(name).stem
    else:
        raise ProfileError(f"profile is {name!r}; use {', '.join(PRESETS)} or a YAML file that "
                           "exists")
    profile = Profile(name=base)
    for layer in [*layers, _nested(settings or {})]:
        profile = _overlaid(profile, layer, "")
    if profile.rewards.judge == profile.rewards.fallback:
        raise ProfileError(f"rewards.judge and rewards.fallback are both {profile.rewards.judge!r};"
                           " the judge must not be the selector")
    if profile.rewards.selector == profile.rewards.judge != "embedded":
        raise ProfileError(f"rewards.selector and rewards.judge are both "
                           f"{profile.rewards.judge!r}; the judge must not be the selector")
    return profile


def profile_from(values: Mapping[str, Any]) -> Profile:
    """The profile of which `dataclasses.asdict` made `values`."""
    return _overlaid(Profile(), values, "")


def _yaml_layers(path: Path) -> list[Mapping[str, Any]]:
    from lib.study.presets import PRESETS
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ProfileError(f"cannot read profile {path}: {reason}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"profile {path} holds {type(content).__name__}; write `base: laptop` "
                           "and overrides such as `dpo: {beta: 0.2}`")
    base = content.pop("base", "laptop")
    if base not in PRESETS:
        raise ProfileError(f"{path}: base is {base!r}; use one of {', '.join(PRESETS)}")
    return [PRESETS[base], _nested(content)]


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"dpo.beta": 0.2}` -> `{"dpo": {"beta": 0.2}}`; nested mappings stay as they are."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, last = str(key).split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        if isinstance(value, Mapping):
            place.setdefault(last, {}).update(_nested(value))
        else:
            place[last] = value
    return nested


def _overlaid(settings: Any, layer: Mapping[str, Any], path: str) -> Any:
    """A copy of a settings object with a layer's values checked and put in."""
    hints = get_type_hints(type(settings))
    changes = {}
    for key, value in layer.items():
        dotted = f"{path}{key}"
        if key not in hints:
            raise ProfileError(_unknown(dotted, key, [f.name for f in fields(settings)]))
        current = getattr(settings, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ProfileError(f"{dotted} is {value!r}; it is a section, set for example "
                                   f"{dotted}.{fields(current)[0].name}")
            changes[key] = _overlaid(current, value, f"{dotted}.")
        else:
            changes[key] = _checked(dotted, value, hints[key])
    try:
        return replace(settings, **changes)
    except (ValueError, TypeError) as error:
        section = path.rstrip(".")
        prefix = "" if not section or str(error).startswith(section) else f"{section}: "
        raise ProfileError(f"{prefix}{error}") from error


def _unknown(dotted: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"unknown setting {dotted}; {hint}"


def _checked(dotted: str, value: Any, kind: Any) -> Any:
    """The value as its annotated type; ints may stand for floats, lists for tuples."""
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value in choices and type(value) in {type(choice) for choice in choices}:
            return value
        allowed = ", ".join(map(str, choices))
        raise ProfileError(f"{dotted} is {value!r}; use one of {allowed}")
    if origin in (Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _checked(dotted, value, next(c for c in choices if c is not type(None)))
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(dotted, item, choices[0]) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (
            isinstance(value, bool) and kind is not bool):
        return value
    raise ProfileError(f"{dotted} is {value!r}; expected {_type_name(kind)}")


def _type_name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list of {_type_name(get_args(kind)[0])}"
    return {float: "a number", int: "a whole number", bool: "true or false",
            str: "text"}.get(kind, str(kind))


def parse_setting(text: str) -> tuple[str, Any]:
    """`dpo.beta=0.2` -> `("dpo.beta", 0.2)`; the value is read as YAML. Raises ProfileError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ProfileError(f"--set {text}: write it as key=value, for example dpo.beta=0.2")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ProfileError(f"--set {text}: the value is not valid YAML") from error
    return key, _number(parsed)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text (it wants 1.0e-5); take such text as the number it is."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return [_number(item) for item in value] if isinstance(value, list) else value
