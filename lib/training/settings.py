"""What can be set about a training stage, checked when it is built."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lib.runtime.checked import checked

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
# lib.training.losses has two more, which need what a row of pairs does not hold: beta_dpo (a
# running mean over batches) and bonbon (the number of samples behind each pair).
PreferenceLoss = Literal["dpo", "robust", "ipo", "length_normalised", "simpo", "odpo", "cal_dpo"]


@checked
class TrainingSettings:
    """What SFT, DPO and reward models share."""

    REPLACED: ClassVar[dict[str, str]] = {
        "accumulation": "set batch_size to the examples behind one optimizer step (16 where the "
                        "paper writes 2 x 8, 32 where it writes 4 x 8)"}

    learning_rate: Positive = 5e-5  # peak of the schedule
    epochs: Positive = 1.0  # passes over the training rows; 0.5 stops half-way
    batch_size: Count = 16  # examples (sequences or pairs) behind one optimizer step
    token_budget: Count = 4096  # tokens computed at once; the knob for memory
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # after the warm-up
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of steps with a rising rate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # AdamW's decoupled decay
    max_grad_norm: Positive = 1.0  # gradients are clipped to this norm
    evaluate_every: CountOrZero = 0  # steps between evaluations; 0 evaluates at start and end
    checkpoint_every: CountOrZero = 10  # optimizer steps between checkpoints; 0 makes none
    keep_checkpoints: Count = 2  # the newest so many stay while training; one stays at the end
    activation_checkpointing: bool = False  # recompute activations: less memory, about 20 % slower
    lora_rank: CountOrZero = 0  # 0 trains all weights; otherwise peft's LoRA of this rank
    lora_alpha: Count = 32  # LoRA's scale is alpha / rank


@checked
class SFTSettings(TrainingSettings):
    """Supervised fine-tuning; the defaults are the paper's (batch 2 x 8)."""


@checked
class RewardModelSettings(TrainingSettings):
    """A language model with a scalar head, trained whole on pairs (Bradley-Terry)."""

    learning_rate: Positive = 1e-5
    batch_size: Count = 32
    margin: Annotated[float, Field(ge=0)] = 0.0  # lead that a chosen answer should have, a score
    centering: Annotated[float, Field(ge=0)] = 0.01  # of (chosen + rejected)^2: rewards near 0

    def __post_init__(self) -> None:
        if self.lora_rank:
            raise ValueError(f"lora_rank is {self.lora_rank}; a reward model is trained whole, "
                             "use 0")


@checked
class DPOSettings(TrainingSettings):
    """Preference optimisation; the defaults are the paper's (batch 4 x 8)."""

    learning_rate: Positive = 1e-6
    batch_size: Count = 32
    beta: Positive = 0.1  # strength of the pull towards the reference
    loss: PreferenceLoss = "dpo"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0  # assumed share of flipped labels

    def __post_init__(self) -> None:
        if self.label_smoothing and self.loss not in ("dpo", "robust"):
            raise ValueError(f"label_smoothing is {self.label_smoothing}, which loss={self.loss} "
                             "does not use; use 0, or loss dpo or robust")
