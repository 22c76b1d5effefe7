"""What can be set about a training stage, checked when it is built."""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import ArgsKwargs

from lib.runtime.settings import checked

# lib.training.losses has two more, which need what a row of pairs does not hold: beta_dpo (a
# running mean over batches) and bonbon (the number of samples behind each pair).
PreferenceLoss = Literal["dpo", "robust", "ipo", "length_normalised", "simpo", "odpo", "cal_dpo"]


@checked
class TrainingSettings:
    """What SFT, DPO and reward models share."""

    learning_rate: float = Field(5e-5, gt=0)  # peak of the schedule
    epochs: float = Field(1.0, gt=0)  # passes over the training rows; 0.5 stops half-way
    batch_size: int = Field(16, ge=1)  # examples (sequences or pairs) behind one optimizer step
    token_budget: int = Field(4096, ge=1)  # tokens computed at once; the knob for memory
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup_share: float = Field(0.1, ge=0, lt=1)  # of the steps, in which the rate rises; paper: 0
    weight_decay: float = Field(0.0, ge=0)  # AdamW's decoupled decay
    max_grad_norm: float = Field(1.0, gt=0)  # gradients are clipped to this norm
    evaluate_every: int = Field(0, ge=0)  # steps between evaluations; 0 evaluates at both ends
    checkpoint_every: int = Field(10, ge=0)  # optimizer steps between checkpoints; 0 makes none
    keep_checkpoints: int = Field(2, ge=1)  # so many stay while training; one stays at the end
    activation_checkpointing: bool = False  # recompute activations: less memory, about 20 % slower
    lora_rank: int = Field(0, ge=0)  # 0 trains all weights; otherwise peft's LoRA of this rank
    lora_alpha: int = Field(32, ge=1)  # LoRA's scale is alpha / rank

    @model_validator(mode="before")
    @classmethod
    def _one_batch_size(cls, values: Any) -> Any:
        named = values.kwargs if isinstance(values, ArgsKwargs) else values
        if isinstance(named, dict) and "accumulation" in named:
            raise ValueError(
                f"accumulation is {named['accumulation']}, which is part of batch_size now; set "
                "batch_size to the examples behind one optimizer step (16 where the paper writes "
                "2 x 8, 32 where it writes 4 x 8)")
        return values


@checked
class SFTSettings(TrainingSettings):
    """Supervised fine-tuning; rate, epochs and batch (2 x 8) are the paper's, the warm-up ours."""


@checked
class RewardModelSettings(TrainingSettings):
    """A language model with a scalar head, trained whole on pairs (Bradley-Terry)."""

    learning_rate: float = Field(1e-5, gt=0)
    batch_size: int = Field(32, ge=1)
    margin: float = Field(0.0, ge=0)  # lead that a chosen answer should have, a point of score gap
    centering: float = Field(0.01, ge=0)  # weight of (chosen + rejected)^2: keeps rewards near 0

    def __post_init__(self) -> None:
        if self.lora_rank:
            raise ValueError(f"lora_rank is {self.lora_rank}; a reward model is trained whole, "
                             "use 0")


@checked
class DPOSettings(TrainingSettings):
    """Preference optimisation; the defaults are the paper's (batch 4 x 8)."""

    learning_rate: float = Field(1e-6, gt=0)
    batch_size: int = Field(32, ge=1)
    beta: float = Field(0.1, gt=0)  # strength of the pull towards the reference
    loss: PreferenceLoss = "dpo"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)  # assumed share of flipped labels

    def __post_init__(self) -> None:
        if self.label_smoothing and self.loss not in ("dpo", "robust"):
            raise ValueError(f"label_smoothing is {self.label_smoothing}, which loss={self.loss} "
                             "does not use; use 0, or loss dpo or robust")
