"""The presets, as differences from the defaults of `lib.study.profiles`.

smoke: every step of the study in minutes, on a random model; its numbers mean nothing.
laptop: a small but real study on two CPU cores. Validation prompts of the sample chose its training
values (figures/README.md, "How the recipe was chosen"), never the held-out prompts or the audit.
gemma: the whole chain from a plain base on two CPU cores, with pairs that the run makes itself.
paper: the values of Qin & Garcia (CS224R 2025), also those that equal a default. What they do not
state is assumed: no warm-up (the default of transformers), top-k 50, 200 held-out prompts, random
seeds. The judge, the validation rows beside theirs and the intervals are ours.
t4: the paper within 16 GB; float16, because a T4 has no bfloat16.
"""

from typing import Any

from lib.data.settings import PAPER as PAPER_DATA

# A random model moves only at a high rate; two checkpoints and evaluations exercise both.
SMOKE_DPO: dict[str, Any] = {
    "learning_rate": 1e-3, "batch_size": 8, "token_budget": 1024,
    "checkpoint_every": 2, "evaluate_every": 2}

SMOKE: dict[str, Any] = {
    "model": {"name": "smoke", "precision": "float32", "device": "cpu"},  # the same anywhere
    "data": {"sft_rows": 32, "preference_rows": 32, "max_length": 256, "max_pair_length": 256},
    "sft": {"learning_rate": 1e-3, "batch_size": 8, "token_budget": 1024,
            "checkpoint_every": 2},
    "dpo": SMOKE_DPO,
    "warning": SMOKE_DPO | {"learning_rate": 3e-3, "batch_size": 4, "checkpoint_every": 0,
                            "evaluate_every": 0},
    "sampling": {"samples": 4, "max_new_tokens": 24, "max_prompt_tokens": 256},
    "rewards": {"backbone": "smoke"},
    "reward_model": {"learning_rate": 1e-3, "batch_size": 8,
                     "token_budget": 1024, "checkpoint_every": 2},
    "evaluation": {"prompts": 16, "candidates": 6, "temperature_prompts": 8,
                   "resamples": 1000, "probe_prompts": 8, "warning_pairs": 8},
    "beyond": {"arms": ["offline_dpo"], "prompts": 8, "trained_tokens": 2_000, "kl_prompts": 4,
               "cut_off_answers": "kept"},  # a random model hardly ever ends an answer
}

# One fixed-pairs method as the anchor, a better loss, and four that learn from their own answers.
BEYOND = ["offline_dpo", "odpo", "online_dpo", "raft", "bonbon", "rloo"]

# token_budget keeps a step within the cache and the run within 6 GB.
LAPTOP_DPO: dict[str, Any] = {
    "learning_rate": 2e-5, "batch_size": 32, "token_budget": 768,
    "checkpoint_every": 6, "keep_checkpoints": 1, "evaluate_every": 9}

LAPTOP: dict[str, Any] = {
    "sft": {"learning_rate": 1e-4, "epochs": 1.0, "batch_size": 16,
            "token_budget": 1024, "checkpoint_every": 10, "keep_checkpoints": 1,
            "evaluate_every": 8},
    "dpo": LAPTOP_DPO,
    # small batches give the warning's four runs twelve steps each within the laptop's time
    "warning": LAPTOP_DPO | {"learning_rate": 1e-4, "batch_size": 4, "checkpoint_every": 0,
                             "evaluate_every": 0},
    "reward_model": {"learning_rate": 2e-5, "batch_size": 32,
                     "token_budget": 1024, "checkpoint_every": 6, "keep_checkpoints": 1,
                     "evaluate_every": 9},
    "sampling": {"samples": 4, "temperature": 0.6, "top_k": 50, "max_new_tokens": 128,
                 "max_prompt_tokens": 512},
    "beyond": {"arms": BEYOND},
}

# LoRA: with all weights the head over 262,144 words would make a step several times dearer.
GEMMA_DPO: dict[str, Any] = {
    "learning_rate": 1e-4, "batch_size": 16, "token_budget": 1024, "lora_rank": 32,
    "checkpoint_every": 6, "keep_checkpoints": 1, "evaluate_every": 0}

GEMMA: dict[str, Any] = {
    "model": {"name": "gemma"},
    "data": {"pairs": "self_generated", "pairs_per_prompt": "best_worst"},
    "sft": {"learning_rate": 5e-4, "epochs": 3.0, "batch_size": 16, "token_budget": 1024,
            "lora_rank": 32, "checkpoint_every": 8, "keep_checkpoints": 1, "evaluate_every": 16},
    "dpo": GEMMA_DPO,
    # its runs at DPO's own rate set pairs that the run made beside written ones
    "warning": GEMMA_DPO | {"learning_rate": 5e-4, "batch_size": 8, "checkpoint_every": 0},
    # 99 % of the training answers are shorter than 160 tokens
    "sampling": {"samples": 4, "temperature": 0.6, "top_k": 50, "max_new_tokens": 160,
                 "max_prompt_tokens": 512},
    "evaluation": {"temperatures": [0.25, 0.6, 1.0], "candidates": 5, "base_candidates": 2,
                   "warning_pairs": 96},
}

PAPER: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen2.5-0.5B", "revision": "060db6499f32faf8b98477b0a26969ef7d8b9987"},
    "data": PAPER_DATA,
    "sft": {"learning_rate": 5e-5, "epochs": 1.0, "batch_size": 16,  # the paper's 2 x 8
            "warmup_share": 0.0, "token_budget": 32768, "checkpoint_every": 100,
            "evaluate_every": 100},
    "dpo": {"learning_rate": 1e-6, "epochs": 1.0, "batch_size": 32,  # the paper's 4 x 8
            "warmup_share": 0.0,
            "token_budget": 32768,  # its beta of .1 is the loss's default: another loss has its own
            "checkpoint_every": 200, "evaluate_every": 200},
    "reward_model": {"token_budget": 32768, "checkpoint_every": 200, "evaluate_every": 200},
    "sampling": {"samples": 4, "temperature": 0.6, "top_k": 50, "max_prompt_tokens": 1024,
                 "max_new_tokens": 1024},
    # the paper judged with its selector; here the judge is another family
    "rewards": {"selector": "nemotron", "judge": "Skywork/Skywork-Reward-V2-Qwen3-0.6B"},
    # the paper has 4 candidates a prompt; 8 let comparisons average over picks
    "evaluation": {"prompts": 200, "candidates": 8, "base_candidates": 8,
                   "temperatures": [0.1, 0.25, 0.6, 1.0], "temperature_prompts": 200,
                   "rerank_base": True},
    "beyond": {"arms": BEYOND, "prompts": 2048, "trained_tokens": 4_000_000, "kl_prompts": 256},
}

T4: dict[str, Any] = PAPER | {
    "model": PAPER["model"] | {"precision": "float16"},
    "sft": PAPER["sft"] | {"token_budget": 4096, "activation_checkpointing": True},
    "dpo": PAPER["dpo"] | {"token_budget": 4096, "activation_checkpointing": True},
    "reward_model": PAPER["reward_model"] | {"token_budget": 4096,
                                             "activation_checkpointing": True},
}

PRESETS: dict[str, dict[str, Any]] = {"smoke": SMOKE, "laptop": LAPTOP, "gemma": GEMMA,
                                      "paper": PAPER, "t4": T4}
