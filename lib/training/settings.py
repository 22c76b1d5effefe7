"""What can be set about a training stage, checked when it is built."""

from dataclasses import dataclass
from typing import Literal

PreferenceLoss = Literal["dpo", "robust", "ipo", "length_normalised", "simpo", "odpo", "cal_dpo"]


@dataclass(frozen=True)
class TrainingSettings:
    """What SFT and DPO share. The optimizer sees batch_size * accumulation examples a step."""

    learning_rate: float = 5e-5  # peak of the schedule
    epochs: float = 1.0  # passes over the training rows; 0.5 stops half-way
    batch_size: int = 2  # examples (sequences or pairs) in the paper's micro-batch
    accumulation: int = 8  # micro-batches an optimizer step; only the product matters here
    token_budget: int = 4096  # tokens computed at once; the knob for memory
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup_share: float = 0.1  # share of the steps in which the learning rate rises from 0
    weight_decay: float = 0.0  # AdamW's decoupled decay
    max_grad_norm: float = 1.0  # gradients are clipped to this norm
    evaluate_every: int = 0  # optimizer steps between evaluations; 0 evaluates at start and end
    checkpoint_every: int = 10  # optimizer steps between checkpoints; 0 makes none
    keep_checkpoints: int = 2  # the newest so many stay while training; one stays at the end
    activation_checkpointing: bool = False  # recompute activations: less memory, about 20 % slower
    compile: bool = False  # torch.compile the decoder (CUDA)
    lora_rank: int = 0  # 0 trains all weights; otherwise peft's LoRA of this rank
    lora_alpha: int = 32  # LoRA's scale is alpha / rank

    def __post_init__(self) -> None:
        positive = ("learning_rate", "epochs", "batch_size", "accumulation", "token_budget",
                    "max_grad_norm", "keep_checkpoints")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("evaluate_every", "checkpoint_every", "lora_rank", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 or more")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share is {self.warmup_share}; use a share from 0 to below 1")

    @property
    def examples_per_step(self) -> int:
        """Sequences or pairs behind one optimizer step."""
        return self.batch_size * self.accumulation


@dataclass(frozen=True)
class SFTSettings(TrainingSettings):
    """Supervised fine-tuning; the defaults are the paper's."""


@dataclass(frozen=True)
class RewardModelSettings(TrainingSettings):
    """A language model with a scalar head, trained whole on pairs (Bradley-Terry)."""

    learning_rate: float = 1e-5
    batch_size: int = 4
    margin: float = 0.0  # the chosen answer should lead by this times the pair's score gap
    centering: float = 0.01  # weight of (chosen + rejected)^2, which keeps rewards near 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("margin", "centering"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 to leave it out, or a "
                                 "positive number")
        if self.lora_rank:
            raise ValueError(f"lora_rank is {self.lora_rank}; a reward model is trained whole, "
                             "use 0")


@dataclass(frozen=True)
class DPOSettings(TrainingSettings):
    """Preference optimisation; the defaults are the paper's."""

    learning_rate: float = 1e-6
    batch_size: int = 4
    beta: float = 0.1  # strength of the pull towards the reference
    loss: PreferenceLoss = "dpo"
    label_smoothing: float = 0.0  # assumed share of flipped labels (dpo, robust)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError(f"beta is {self.beta}; it must be above 0")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; use 0 to below 0.5")
