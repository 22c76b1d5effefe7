"""Direct Preference Optimization: pairs, their reference log-probabilities, and the loss on both.

`train_dpo` is the whole stage. The loss of a step is the mean over its pairs; pairs of one prompt
share its computation (`lib.training.pairs`). The model that training starts from is the reference:
its log-probabilities are computed before the first step and cached.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.loading import rounded_to
from lib.modeling.packed.logps import response_logps
from lib.runtime.files import sha256_of_value, write_jsonl
from lib.training import losses
from lib.training.betas.steering import Steering, steering_of
from lib.training.job import Job, ProbeMaker, Setup, fit, read_examples, save_trained, set_up
from lib.training.objective import Metrics, step_batches
from lib.training.pairs import (
    Pair,
    PairObjective,
    PairRow,
    encode_pairs,
    group_by_prompt,
    pair_rewards,
    pairs_hash,
    reward_sums,
    score_gaps,
)
from lib.training.processes import ALONE, Processes
from lib.training.reference import reference_logps
from lib.training.settings import PER_TOKEN, REFERENCE_FREE, DPOSettings


def train_dpo(job: Job, processes: Processes = ALONE,
              make_probe: ProbeMaker | None = None) -> None:
    """Train `job.model` on preferences with itself as the reference, and write the model.

    Every process calls it. Writes the validation pairs' rewards to validation_rewards.jsonl too.
    Raises FileError, ModelError, TrainingError or ValueError, each one sentence.
    """
    setup, settings = set_up(job, processes), job.settings
    assert isinstance(settings, DPOSettings)  # as `read_job` makes them of method=dpo
    pairs, held = (read_examples(setup, path, encode_pairs) for path in (job.rows, job.validation))
    steps = step_batches(group_by_prompt(pairs), job.settings, job.seed)
    with rounded_to(setup.model, setup.device.dtype):  # as the policy will compute
        training = _objective(setup, settings, pairs, steps, "training")
        training.steering = steering_of(settings)
        validation = _objective(setup, settings, held, [], "validation")
    model, state = fit(setup, training, validation if len(held) else None, make_probe,
                       training.steering)
    if processes.main:
        if job.validation:
            write_jsonl(Path(job.folder) / "validation_rewards.jsonl",
                        pair_rewards(model, validation, setup.device.device))
        save_trained(setup, model, state)


def _objective(setup: Setup, settings: DPOSettings, pairs: Sequence[Pair],
               batches: Sequence[Sequence[int]], part: str) -> "DPOObjective":
    job = setup.job
    if settings.loss in REFERENCE_FREE and part == "training":  # in validation it shows gains
        return DPOObjective(pairs, torch.full((len(pairs), 2), torch.nan), settings)
    reference = reference_logps(
        setup.model, pairs, batches, settings.token_budget, setup.hash_of(job.model),
        Path(job.folder) / f"reference_{part}.jsonl", setup.device.device, f"reference ({part})",
        setup.processes)
    return DPOObjective(pairs, reference, settings)


class DPOObjective(PairObjective):
    """Pairs with their reference log-probabilities; see `lib.training.objective.Objective`.

    reference: [pairs, 2] float32, summed log-probabilities of chosen and rejected. A loss without
    a reference does not read it. steering: changes beta while training; validation losses and all
    rewards have the settings' own beta, so that they compare from step to step.
    """

    settings: DPOSettings

    def __init__(self, pairs: Sequence[Pair], reference: Tensor, settings: DPOSettings,
                 steering: Steering | None = None) -> None:
        super().__init__(pairs, settings)
        self.reference, self.steering = reference, steering

    def loss(self, model: PreTrainedModel, row: PairRow) -> tuple[Tensor, Metrics]:
        """Summed loss of the row's pairs and sums of TRL's metrics, with the loss's own rewards."""
        four, settings = self._logps(model, row), self.settings
        pairs = [self.pairs[i] for i in row.examples]
        beta = self.steering.beta if self.steering else settings.beta
        per_pair = LOSSES[settings.loss]((*four, beta), settings, pairs)  # [pairs]
        chosen, rejected, *reference = (logps.detach() for logps in four)
        return per_pair.sum(), {
            **reward_sums(*self._implicit((chosen, rejected, *reference), pairs)),
            "logps/chosen": chosen.sum().item(), "logps/rejected": rejected.sum().item()}

    def rewards(self, model: PreTrainedModel, row: PairRow) -> dict[str, Tensor]:
        """Implicit rewards of the row's "chosen" and "rejected" answers, float64 [pairs] each.

        "chosen_gain" and "rejected_gain" are what log p gained over the reference, in nats.
        """
        four = [logps.double() for logps in self._logps(model, row)]
        chosen, rejected = self._implicit(four, [self.pairs[i] for i in row.examples])
        return {"chosen": chosen, "rejected": rejected, "chosen_gain": four[0] - four[2],
                "rejected_gain": four[1] - four[3]}

    def gaps(self, model: PreTrainedModel, row: PairRow) -> Tensor:
        """How far the policy moved chosen and rejected of each pair apart, in nats, [pairs]."""
        chosen, rejected, *reference = self._logps(model, row)
        return (chosen - reference[0]) - (rejected - reference[1])

    def _logps(self, model: PreTrainedModel, row: PairRow) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The policy's chosen and rejected, the reference's chosen and rejected: [pairs] each."""
        policy = response_logps(model, row.batch)  # [answers of the row]
        reference = self.reference[list(row.examples)].to(policy.device)  # [pairs, 2]
        return policy[row.chosen], policy[row.rejected], reference[:, 0], reference[:, 1]

    def _implicit(self, four: Sequence[Tensor], pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """Rewards of chosen and rejected, [pairs] each, as the loss defines them."""
        policy, reference = torch.stack(list(four)).view(2, 2, -1)  # [side, pairs] each
        if self.settings.loss in REFERENCE_FREE:
            reference = torch.zeros_like(reference)
        if self.settings.loss in PER_TOKEN:
            policy, reference = (logps / _lengths(pairs).to(logps) for logps in (policy, reference))
        chosen, rejected = losses.implicit_rewards(policy, reference, self.settings.reward_scale)
        return chosen, rejected

    def key(self) -> str:
        """Hash of the pairs and of the reference log-probabilities."""
        return sha256_of_value([pairs_hash(self.pairs), self.reference.tolist()])


def _lengths(pairs: Sequence[Pair]) -> Tensor:
    """Response tokens of the chosen and of the rejected answers, [2, pairs]."""
    return torch.tensor([[len(pair.chosen) for pair in pairs],
                         [len(pair.rejected) for pair in pairs]])


Given = tuple[Tensor, Tensor, Tensor, Tensor, float | None]  # four log-probabilities, beta
# Each takes these, the settings (those that it reads are set) and the pairs: one loss a pair.
LOSSES: dict[str, Callable[[Given, Any, Sequence[Pair]], Tensor]] = {
    "dpo": lambda given, settings, _: losses.dpo_loss(*given, settings.label_smoothing),
    "cdpo": lambda given, settings, _: losses.dpo_loss(*given, settings.label_smoothing),
    "robust": lambda given, settings, _: losses.robust_dpo_loss(*given, settings.label_smoothing),
    "ipo": lambda given, *_: losses.ipo_loss(*given),
    "ipo_per_token": lambda given, _, pairs: losses.ipo_per_token_loss(
        *given, *_lengths(pairs).to(given[0])),
    "cal_dpo": lambda given, settings, _: losses.cal_dpo_loss(*given, settings.calibration_weight),
    "odpo": lambda given, settings, pairs: losses.odpo_loss(
        *given, score_gaps(pairs, "loss=odpo").to(given[0]), settings.offset_alpha,
        settings.offset),
    "simpo": lambda given, settings, pairs: losses.simpo_loss(
        *given, *_lengths(pairs).to(given[0]), settings.beta * settings.gamma_beta_ratio),
    "length_normalised": lambda given, _, pairs: losses.length_normalised_dpo_loss(
        *given, *_lengths(pairs).to(given[0])),
    "beta_dpo": lambda given, *_: losses.dpo_loss(*given),  # `betas.steering` sets the step's beta
    "dpo_sft": lambda given, settings, pairs: losses.dpo_sft_loss(
        *given, _lengths(pairs)[0].to(given[0]), settings.sft_weight),
    "bonbon": lambda given, settings, _: losses.bonbon_loss(
        *given[:4], settings.best_of, settings.sft_share),
}
