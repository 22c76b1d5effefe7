"""The `beyond` part of a profile: which arms of notebook 06 run, and the budget that all have."""

from typing import Any, Literal

from pydantic import Field, field_validator

from lib.runtime.settings import checked
from lib.study.beyond.names import NAMES, ArmName, full_name

ANCHOR = "offline_dpo"  # the arm whose KL others are to reach; its settings' short name is dpo
ALL = "all"  # among the names: every arm
TRIALS = 3  # trainings, at most, of an arm that is to reach another one's KL
PROBES = 8  # measurements of KL, about, in a training that it steers


@checked
class BeyondSettings:
    """Arms and budget; the learning rates of all arms are those of the profile's own stages."""

    arms: tuple[ArmName, ...] = ()  # none: notebook 06 shows what there is and trains nothing;
    # dpo is short for offline_dpo, and all takes every arm
    prompts: int = Field(128, ge=2)  # of the preferences' training prompts, the same for all arms
    samples: int = Field(4, ge=2)  # answers a prompt that an arm may generate, all rounds together
    temperature: float = Field(1.0, gt=0)  # at which an arm samples what it learns from
    cut_off_answers: Literal["left_out", "kept"] = "left_out"  # may an arm imitate those; kept:
    # as if they had ended, for a model whose answers never do
    trained_tokens: int = Field(60_000, ge=1)  # an arm trains on, a pair's prompt in both answers
    candidates: int = Field(2, ge=1)  # answers of each arm to each held-out prompt
    kl_prompts: int = Field(64, ge=2)  # validation prompts whose answers measure KL from SFT

    @field_validator("arms", mode="before")
    @classmethod
    def _each_once_and_the_anchor_first(cls, value: Any) -> Any:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
            return value
        once = dict.fromkeys(NAMES if ALL in names else map(full_name, names))
        return tuple(sorted(once, key=lambda name: name != ANCHOR))
