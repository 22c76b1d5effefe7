"""Direct Preference Optimization: pairs, their reference log-probabilities, and the loss on both.

`train_dpo` is the whole stage. The loss of a step is the mean over its pairs; pairs are packed so
that they share their prompt's computation (`lib.training.pairs`). The model that training starts
from is the reference: its log-probabilities are computed before the first step and cached.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.modeling.loading import model_hash, rounded_to
from lib.modeling.packed.logps import response_logps
from lib.runtime.files import sha256_of_value, write_jsonl
from lib.training import losses
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
)
from lib.training.processes import ALONE, Processes
from lib.training.reference import reference_logps
from lib.training.settings import DPOSettings

FourLogps = tuple[Tensor, Tensor, Tensor, Tensor]  # policy's chosen, rejected; reference's: [pairs]


def train_dpo(job: Job, processes: Processes = ALONE,
              make_probe: ProbeMaker | None = None) -> None:
    """Train `job.model` on preferences, itself being the reference, and write the model.

    Every process calls it. Writes the validation pairs' rewards to validation_rewards.jsonl too.
    Raises FileError, ModelError, TrainingError or ValueError, each one sentence.
    """
    setup = set_up(job, processes)
    pairs, held = (read_examples(setup, path, encode_pairs) for path in (job.rows, job.validation))
    key, steps = model_hash(job.model), step_batches(group_by_prompt(pairs), job.settings, job.seed)
    with rounded_to(setup.model, setup.device.dtype):  # as the policy will compute
        training = DPOObjective(pairs, _reference(setup, key, pairs, steps, "training"),
                                job.settings)
        validation = DPOObjective(held, _reference(setup, key, held, [], "validation"),
                                  job.settings)
    model, state = fit(setup, training, validation if job.validation else None, make_probe)
    if processes.main:
        if job.validation:
            write_jsonl(Path(job.folder) / "validation_rewards.jsonl",
                        pair_rewards(model, validation, setup.device.device))
        save_trained(setup, model, state)


def _reference(setup: Setup, key: str, pairs: Sequence[Pair], batches: Sequence[Sequence[int]],
               part: str) -> Tensor:
    job = setup.job
    return reference_logps(setup.model, pairs, batches, job.settings.token_budget, key,
                           Path(job.folder) / f"reference_{part}.jsonl", setup.device.device,
                           f"reference ({part})", setup.processes)


class DPOObjective(PairObjective):
    """Pairs with their reference log-probabilities; see `lib.training.objective.Objective`.

    reference: [pairs, 2] float32, summed log-probabilities of chosen and rejected.
    """

    def __init__(self, pairs: Sequence[Pair], reference: Tensor, settings: DPOSettings) -> None:
        super().__init__(pairs, settings)
        self.reference = reference

    def loss(self, model: nn.Module, row: PairRow) -> tuple[Tensor, Metrics]:
        """Summed loss of the row's pairs, sums of TRL's metrics; rewards are beta log-ratios."""
        four, settings = self._logps(model, row), self.settings
        pairs = [self.pairs[i] for i in row.examples]
        # [pairs]; by losses.dpo_loss unless settings.loss names another
        per_pair = LOSSES[settings.loss]((*four, settings.beta), settings, pairs)
        return per_pair.sum(), self._metrics(*(logps.detach() for logps in four))

    def _logps(self, model: nn.Module, row: PairRow) -> FourLogps:
        """Log-probabilities of the row's answers, each summed over its tokens."""
        policy = response_logps(model, row.batch)  # [answers of the row]
        reference = self.reference[list(row.examples)].to(policy.device)  # [pairs, 2]
        return policy[row.chosen], policy[row.rejected], reference[:, 0], reference[:, 1]

    def rewards(self, model: nn.Module, row: PairRow) -> tuple[Tensor, Tensor]:
        """Implicit rewards of the row's chosen and rejected answers, float64 [pairs] each."""
        chosen, rejected, *reference = (logps.double() for logps in self._logps(model, row))
        beta = self.settings.beta
        return (losses.implicit_rewards(chosen, reference[0], beta),
                losses.implicit_rewards(rejected, reference[1], beta))

    def _metrics(self, chosen: Tensor, rejected: Tensor, reference_chosen: Tensor,
                 reference_rejected: Tensor) -> Metrics:
        reward_chosen = losses.implicit_rewards(chosen, reference_chosen, self.settings.beta)
        reward_rejected = losses.implicit_rewards(rejected, reference_rejected, self.settings.beta)
        sums = {"rewards/chosen": reward_chosen, "rewards/rejected": reward_rejected,
                "rewards/margins": reward_chosen - reward_rejected,
                "rewards/accuracies": (reward_chosen > reward_rejected).float(),
                "logps/chosen": chosen, "logps/rejected": rejected}
        return {name: value.sum().item() for name, value in sums.items()}

    def key(self) -> str:
        """Hash of the pairs and of the reference log-probabilities."""
        return sha256_of_value([pairs_hash(self.pairs), self.reference.tolist()])


def _lengths(pairs: Sequence[Pair]) -> Tensor:
    """Response tokens of the chosen and of the rejected answers, [2, pairs]."""
    return torch.tensor([[len(pair.chosen) for pair in pairs],
                         [len(pair.rejected) for pair in pairs]])


def _gaps(pairs: Sequence[Pair]) -> Tensor:
    missing = [pair.id for pair in pairs if pair.score_gap is None]
    if missing:
        raise ValueError(f"pair {missing[0]} has no scores; loss=odpo needs score_chosen and "
                         "score_rejected on every row")
    return torch.tensor([pair.score_gap for pair in pairs])


# Given: the four log-probabilities and beta.
LOSSES: dict[str, Callable[[tuple, DPOSettings, Sequence[Pair]], Tensor]] = {
    "dpo": lambda given, settings, _: losses.dpo_loss(*given, settings.label_smoothing),
    "robust": lambda given, settings, _: losses.robust_dpo_loss(*given, settings.label_smoothing),
    "ipo": lambda given, *_: losses.ipo_loss(*given),
    "cal_dpo": lambda given, *_: losses.cal_dpo_loss(*given),
    "odpo": lambda given, _, pairs: losses.odpo_loss(*given, _gaps(pairs).to(given[0])),
    "simpo": lambda given, _, pairs: losses.simpo_loss(*given, *_lengths(pairs).to(given[0])),
    "length_normalised": lambda given, _, pairs: losses.length_normalised_dpo_loss(
        *given, *_lengths(pairs).to(given[0])),
}
