"""The names of all arms, for settings that are checked before anything heavy is imported."""

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
