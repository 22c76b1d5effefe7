"""What can be set about a training stage, checked when it is built."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import ArgsKwargs

from lib.runtime.settings import checked

# lib.training.losses has two more, which need what a row of pairs does not hold: beta_dpo (a
# running mean over batches) and bonbon (the number of samples behind each pair).
PreferenceLoss = Literal["dpo", "cdpo", "robust", "ipo", "length_normalised", "simpo", "odpo",
                         "cal_dpo"]

# The settings that each loss reads, with its own defaults; it refuses the others.
LOSS_SETTINGS: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1, "label_smoothing": 0.0},
    "cdpo": {"beta": 0.1, "label_smoothing": 0.1},  # conservative DPO: dpo with a share above 0
    "robust": {"beta": 0.1, "label_smoothing": 0.1},
    "ipo": {"beta": 0.1},  # the authors' tau: the log-ratios shall differ by 1 / (2 tau) = 5 nats
    "length_normalised": {"beta": 5.0},  # Tulu 3's
    "simpo": {"beta": 2.0, "gamma_beta_ratio": 0.5},  # within its authors' ranges
    "odpo": {"beta": 0.1, "offset_alpha": 1.0, "offset": "log"},
    # The authors' .002 asks for 250 nats an answer; 5 can be reached by a small model.
    "cal_dpo": {"beta": 0.1, "calibration_weight": 0.5}}
REFERENCE_FREE = ("simpo",)  # losses that read the policy alone
PER_TOKEN = ("simpo", "length_normalised")  # rewards are means over tokens, not sums
NEVER_ZERO = ("cdpo", "robust")  # with a label_smoothing of 0 they are plain DPO


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
    lora_targets: tuple[str, ...] | None = None  # attention, or names such as [q_proj, v_proj];
    # null: every linear layer of the decoder

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

    @field_validator("lora_targets", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return tuple(value) or None if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _targets_need_a_rank(self) -> Self:
        if self.lora_targets and not self.lora_rank:
            raise ValueError(f"lora_targets is {', '.join(self.lora_targets)}, but lora_rank 0 "
                             "trains all weights; set a rank such as 16, or leave lora_targets out")
        return self

    def in_force(self) -> dict[str, Any]:
        """The settings in force, by name: those that are null are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    """Preference optimisation; rate, beta, epochs and batch (4 x 8) are the paper's, warm-up ours.

    A loss's own settings are null until the loss is known: then those that it reads take its
    defaults (`LOSS_SETTINGS`), and the others stay null. Build settings anew for another loss;
    `replace` would keep this one's beta.
    """

    learning_rate: float = Field(1e-6, gt=0)
    batch_size: int = Field(32, ge=1)
    loss: PreferenceLoss = "dpo"
    beta: float | None = Field(None, gt=0)  # pull towards the reference; simpo: scale of rewards
    label_smoothing: float | None = Field(None, ge=0, lt=0.5)  # assumed share of flipped labels
    gamma_beta_ratio: float | None = Field(None, ge=0)  # simpo: lead in nats a token, gamma / beta
    offset_alpha: float | None = Field(None, gt=0)  # odpo: weight of the offset
    offset: Literal["log", "identity"] | None = None  # odpo: the offset, from the scores' gap
    calibration_weight: float | None = Field(None, gt=0)  # cal_dpo: weight of the squared distance

    def __post_init__(self) -> None:
        read = LOSS_SETTINGS[self.loss]
        for name in dict.fromkeys(name for names in LOSS_SETTINGS.values() for name in names):
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, read.get(name))
            elif name not in read:
                known = [loss for loss, names in LOSS_SETTINGS.items() if name in names]
                raise ValueError(f"{name} is {value}, which loss={self.loss} does not read; leave "
                                 f"it out, or use loss {' or '.join(known)}")
        if self.loss in NEVER_ZERO and not self.label_smoothing:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, with which "
                             f"loss={self.loss} is plain DPO; use a share above 0 and below 0.5, "
                             "or loss=dpo")

    def of_loss(self) -> dict[str, Any]:
        """The settings that the loss reads, beta first."""
        return {name: getattr(self, name) for name in LOSS_SETTINGS[self.loss]}
