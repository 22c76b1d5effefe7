"""Policy gradient on scored answers of the model itself: RLOO with replay, and BOND's two parts.

`answers` says what an answer is, `train` trains on a file of them. An answer's reward is its score
less a KL penalty; its advantage is the reward less the mean of the prompt's other answers (`rloo`).
The loss adds up each token's clipped ratio times that advantage, and -log p of answers that have an
SFT weight.

The loss of a step is a sum over tokens divided by its number of answers. So, before the first
update, the gradient is REINFORCE's: -(1 / answers) sum A grad log p(answer). A mean over the step's
tokens would scale it by the answers' lengths, a mean within each answer would let a token of a long
answer count less: both change what is optimised.

pi_old's log-probabilities are those of this trainer's own forward at temperature 1, on the rows and
in the precision of training, so that every ratio is exactly 1 at step 0. They are not the
sampler's: its temperature and top-k make another distribution, of which these ratios know nothing,
so answers should be sampled at temperature 1 from the whole vocabulary.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lib.modeling.packed.logps import response_token_logps, sequence_sums
from lib.runtime.files import sha256_of_value
from lib.training.objective import ExampleGroup, Metrics, PackedRow
from lib.training.on_policy.answers import (
    Answer,
    answer_rows,
    answers_hash,
    answers_together,
    group_answers,
)
from lib.training.on_policy.rloo import (
    clipped_loss,
    is_clipped,
    kl_estimates,
    leave_one_out_advantages,
    ratios_of,
    shaped_rewards,
)
from lib.training.settings import PolicyGradientSettings


def advantages_of(answers: Sequence[Answer], old: Tensor, reference: Tensor,
                  kl_weight: float) -> Tensor:
    """Leave-one-out advantage of each answer among those of its prompt and age, [answers].

    old, reference: log-probabilities summed over each answer, [answers].
    """
    rewards = shaped_rewards([answer.score for answer in answers], old.double().numpy(),
                             reference.double().numpy(), kl_weight)
    advantages = np.zeros(len(answers))
    for group in group_answers(answers):
        advantages[group] = leave_one_out_advantages(rewards[group])
    return torch.tensor(advantages)


class PolicyGradientObjective:
    """Scored answers with their advantages; see `lib.training.objective.Objective`.

    old: log-probabilities of each answer's tokens under the policy that sampled it, float32
    [tokens] each; reference: those of whole answers under the reference, [answers]. Several epochs
    are a replay of the same answers; `settings.clip` keeps each update near pi_old.
    """

    def __init__(self, answers: Sequence[Answer], old: Sequence[Tensor], reference: Tensor,
                 settings: PolicyGradientSettings) -> None:
        self.answers, self.old, self.reference = answers, old, reference
        self.settings = settings
        self.groups = group_answers(answers)
        self.advantages = advantages_of(answers, torch.stack([logps.sum() for logps in old]),
                                        reference, settings.kl_weight)

    @property
    def learns(self) -> bool:
        """Whether any answer has an advantage or an SFT weight."""
        return bool(self.advantages.any()) or any(answer.sft_weight for answer in self.answers)

    def rows(self, examples: Sequence[int], device: torch.device) -> list[PackedRow]:
        """Rows of whole answers; answers of one prompt share it."""
        return answer_rows(self.answers, examples, self.settings.token_budget, device)

    def weight(self, examples: Sequence[int]) -> float:
        """Number of answers: see the module on why not their tokens."""
        return len(examples)

    def computed_together(self, examples: Sequence[int]) -> list[ExampleGroup]:
        """Answers of one prompt."""
        return answers_together(self.answers, examples, self.settings.token_budget)

    def tokens(self, examples: Sequence[int]) -> int:
        """Prompt and answer of every answer."""
        return sum(len(self.answers[i].prompt) + len(self.answers[i].tokens) for i in examples)

    def loss(self, model: PreTrainedModel, row: PackedRow) -> tuple[Tensor, Metrics]:
        """Summed loss of the row's answers, and sums from which `means` makes the metrics."""
        batch, examples = row.batch, list(row.examples)
        logps = response_token_logps(model, batch)  # [response tokens of the row]
        old = torch.cat([self.old[i] for i in examples]).to(logps)
        advantages = self.advantages[examples].to(logps)  # [answers of the row]
        log_ratios, of_each = logps - old, advantages[batch.answer_of]
        if self.settings.ratio == "sequence":
            log_ratios, of_each = sequence_sums(log_ratios, batch), advantages
        policy = clipped_loss(log_ratios, of_each, self.settings.clip).sum()
        sft_weights = logps.new_tensor([self.answers[i].sft_weight for i in examples])
        nll = -(sequence_sums(logps, batch) * sft_weights).sum()
        clipped = is_clipped(log_ratios.detach(), of_each, self.settings.clip)
        return policy + nll, {"clipped": clipped.sum().item(), "ratios": len(clipped),
                              **self._moved(logps.detach(), old, row)}

    def _moved(self, logps: Tensor, old: Tensor, row: PackedRow) -> Metrics:
        """Sums over the row's answers: scores, and how far the policy is from old and reference."""
        examples, batch = list(row.examples), row.batch
        answers = sequence_sums(logps, batch)
        rho = ratios_of(sequence_sums(logps - old, batch))
        reference = self.reference[examples].to(answers)
        return {"reward": sum(self.answers[i].score for i in examples),
                "kl/old": kl_estimates(old, logps).k3.sum().item(),
                "kl/reference": kl_estimates(answers, reference).k1.sum().item(),
                "rho": rho.sum().item(), "rho_squared": (rho ** 2).sum().item()}

    def means(self, sums: Mapping[str, float], weight: float) -> Metrics:
        """Means over the step's answers; KL in nats an answer.

        clip_fraction: share of ratios (tokens', or answers') whose gradient is clipped away.
        effective_samples: (sum rho)^2 / sum rho^2 over the answers' whole ratios, as a share of the
        answers. reward: the score, less penalties for cut-off answers.
        """
        return {name: sums[name] / weight
                for name in ("loss", "reward", "kl/old", "kl/reference")} | {
            "clip_fraction": sums["clipped"] / sums["ratios"],
            "effective_samples": sums["rho"] ** 2 / (weight * sums["rho_squared"])}

    def key(self) -> str:
        """Hash of the answers, their weights, and both policies' log-probabilities."""
        return sha256_of_value([
            answers_hash(self.answers), [answer.sft_weight for answer in self.answers],
            self.advantages.tolist(), [logps.tolist() for logps in self.old],
            self.reference.tolist()])
