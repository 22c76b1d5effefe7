"""What can be set about a training stage, checked when it is built."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import ArgsKwargs

from lib.runtime.settings import checked
from lib.training.betas.formulas import MOST_ERROR, best_of_n_gap

PreferenceLoss = Literal["dpo", "cdpo", "robust", "ipo", "ipo_per_token", "length_normalised",
                         "simpo", "odpo", "cal_dpo", "beta_dpo", "dpo_sft", "bonbon"]

# The settings that each loss reads, with its own defaults; it refuses the others.
LOSS_SETTINGS: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1, "label_smoothing": 0.0},
    "cdpo": {"beta": 0.1, "label_smoothing": 0.1},  # conservative DPO: dpo with a share above 0
    "robust": {"beta": 0.1, "label_smoothing": 0.1},
    "ipo": {"beta": 0.1},  # the authors' tau: the log-ratios shall differ by 1 / (2 tau) = 5 nats
    # TRL's .1 asks for 5 nats a token, which no answer reaches; 4 for an eighth: 5 nats in 40.
    "ipo_per_token": {"beta": 4.0},
    "length_normalised": {"beta": 5.0},  # Tulu 3's
    "simpo": {"beta": 2.0, "gamma_beta_ratio": 0.5},  # within its authors' ranges
    "odpo": {"beta": 0.1, "offset_alpha": 1.0, "offset": "log"},
    # The authors' .002 asks for 250 nats an answer; 5 can be reached by a small model.
    "cal_dpo": {"beta": 0.1, "calibration_weight": 0.5},
    "beta_dpo": {"beta": 0.1, "beta_strength": 0.6, "filtered_share": 0.2, "gap_momentum": 0.9},
    "dpo_sft": {"beta": 0.1, "sft_weight": 1.0},  # iterative RPO's
    "bonbon": {"best_of": 4, "sft_share": 0.005}}  # its target follows from best_of, without beta
REFERENCE_FREE = ("simpo",)  # losses that read the policy alone
# Rewards are means over tokens, not sums:
PER_TOKEN = ("simpo", "length_normalised", "ipo_per_token")
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

    @property
    def keeps_order(self) -> bool:
        """Whether every pass reads the rows in the order of their file."""
        return False

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
class PolicyGradientSettings(TrainingSettings):
    """Policy gradient on sampled answers (RLOO); KL weight, clip and rate are TRL's.

    batch_size counts answers. More than one epoch replays each of them. pair_beta and policy_weight
    are read where a job has pairs.
    """

    learning_rate: float = Field(1e-6, gt=0)
    batch_size: int = Field(32, ge=1)
    kl_weight: float = Field(0.05, ge=0)  # reward lost by a nat of log-ratio to the reference
    clip: float = Field(0.2, gt=0, lt=1)  # a ratio to the old policy is kept within 1 +- clip
    ratio: Literal["token", "sequence"] = "token"  # TRL's of whole answers clips nearly all of them
    cut_off: Literal["penalised", "masked"] = "penalised"  # answers that ran into the token limit
    cut_off_penalty: float = Field(1.0, ge=0)  # taken off the score of a penalised one
    max_age: int = Field(1, ge=0)  # replayed answers of more rounds ago are left out
    pair_beta: float = Field(0.1, gt=0)  # beta of the pairs' DPO loss
    policy_weight: float = Field(1.0, ge=0)  # lambda, the answers' weight beside the pairs


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
    beta_strength: float | None = Field(None, ge=0)  # beta_dpo: how far beta follows a step's gaps
    filtered_share: float | None = Field(None, ge=0, lt=1)  # beta_dpo: of a step's pairs, left out
    gap_momentum: float | None = Field(None, ge=0, lt=1)  # beta_dpo: of the gaps' moving averages
    sft_weight: float | None = Field(None, gt=0)  # dpo_sft: of -log p of the chosen answer a token
    best_of: int | None = Field(None, ge=2)  # bonbon: answers of which a pair is best and worst
    sft_share: float | None = Field(None, ge=0, lt=1)  # bonbon: of -log p of the best answer
    # Steers beta so that KL(policy || reference) on fresh answers comes to so many nats an answer:
    kl_target: float | None = Field(None, gt=0)  # measured at each evaluation; null: beta is fixed
    # Pairs in which beta would change by e of `adaptive_beta`; null: those between two evaluations
    kl_horizon: int | None = Field(None, ge=1)
    order: Literal["file"] | None = None  # file: every pass in the file's order, for a curriculum;
    # null: each pass in a new order

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
        self._check_kl()

    def _check_kl(self) -> None:
        target, horizon = self.kl_target, self.kl_horizon
        if target is None:
            if horizon is not None:
                raise ValueError(f"kl_horizon is {horizon} without a kl_target; set kl_target too, "
                                 "or leave kl_horizon out")
            return
        if self.beta is None or self.loss in REFERENCE_FREE:
            raise ValueError(f"kl_target is {target:g}, which loss={self.loss} does not read: no "
                             "beta of its holds the policy near the reference; leave it out")
        if not self.evaluate_every:
            raise ValueError(f"kl_target is {target:g} with evaluate_every 0, so that beta would "
                             "change after the last step only; set evaluate_every to at least 1")
        if MOST_ERROR * self.batch_size * self.evaluate_every >= self.horizon():
            raise ValueError(f"kl_horizon is {horizon}, so few that beta could fall below 0 in the "
                             f"{self.batch_size * self.evaluate_every} pairs between two "
                             "evaluations; use as many or more")

    def horizon(self) -> int:
        """The pairs over which measured KL changes beta."""
        return self.kl_horizon or self.batch_size * self.evaluate_every

    @property
    def keeps_order(self) -> bool:
        """Whether every pass reads the pairs in the order of their file."""
        return self.order == "file"

    @property
    def reward_scale(self) -> float:
        """What the loss's rewards are of a log-ratio: beta, or what stands for it in BoNBoN."""
        if self.beta is not None:
            return self.beta
        assert self.best_of is not None  # bonbon alone has no beta
        return 1 / (2 * best_of_n_gap(self.best_of))

    def of_loss(self) -> dict[str, Any]:
        """The settings that the loss reads, beta first."""
        return {name: getattr(self, name) for name in LOSS_SETTINGS[self.loss]}
