"""Arms that train few parameters beside frozen weights: what full fine-tuning adds for its memory.

`python tests/bench/adapters.py` measures memory and speed of the two beside each other.
"""

from pathlib import Path

from lib.study.beyond.arm import ArmRun
from lib.study.beyond.matched import equal_movement

RANK, ALPHA = 16, 32  # constants: LoRA's usual ones; every linear layer of the decoder gets them
FASTER = 10.0  # LoRA's first rate over that of all weights, about what it needs


def lora_dpo(run: ArmRun) -> Path:
    """DPO with LoRA from the merged SFT model, at the rate that moves it as far as `offline_dpo`.

    A profile that trains with LoRA anyway keeps its own rank and rate.
    """
    if run.study.profile.dpo.lora_rank:
        return equal_movement(run, "dpo")
    return equal_movement(run, "dpo", FASTER, lora_rank=RANK, lora_alpha=ALPHA)
