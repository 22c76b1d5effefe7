"""The names of all arms, for settings that are checked before anything heavy is imported."""

from difflib import get_close_matches
from typing import Literal, get_args

ArmName = Literal[
    "offline_dpo", "robust_matched", "ipo_matched", "simpo_matched", "odpo_matched", "cdpo",
    "robust", "ipo", "ipo_per_token", "length_normalised", "simpo", "odpo", "cal_dpo", "beta_dpo",
    "dpo_sft", "margin", "margin_random", "fdpo", "fdpo_random", "clusters", "clusters_random",
    "curriculum", "curriculum_reference", "curriculum_random", "adaptive_beta", "dpo_flipped10",
    "dpo_flipped20", "cdpo_flipped10", "cdpo_flipped20", "robust_flipped10", "robust_flipped20",
    "random_labels", "online_dpo", "dice", "raft", "raft_random", "bonbon", "bond", "rloo",
    "dpo_then_rloo", "dpo_plus_rloo", "lora_dpo"]
NAMES: tuple[str, ...] = get_args(ArmName)
SHORT = {"dpo": "offline_dpo"}  # other names that people give an arm


def full_name(name: str) -> str:
    """An arm's name from it or from a short one; raises ValueError for an unknown arm."""
    found = SHORT.get(name, name)
    if found not in NAMES:
        word = name.lower()
        near = get_close_matches(word, [*NAMES, *SHORT], 3) or [
            known for known in NAMES if word and word in known]
        hint = f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(NAMES)}"
        raise ValueError(f"there is no arm {name!r}; {hint}")
    return found
