"""The names of all arms, for settings that are checked before anything heavy is imported."""

from typing import Literal, get_args

ArmName = Literal["offline_dpo", "ipo_matched", "odpo_matched", "simpo_matched",
                  "robust_matched"]
NAMES: tuple[str, ...] = get_args(ArmName)
