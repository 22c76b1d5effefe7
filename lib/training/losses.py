"""Losses of supervised fine-tuning and of the DPO family, as pure functions.

Every preference loss takes the same four vectors first: log-probabilities of the chosen and the
rejected answer under the policy and under the reference, summed over response tokens, [pairs] each;
it returns one loss a pair. In formulas h = log policy - log reference and d = h(chosen) -
h(rejected). NumPy arrays give NumPy arrays, torch tensors give torch tensors.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from lib.training.betas.formulas import best_of_n_gap


def _numpy_or_torch(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """Let a function on tensors also take NumPy arrays or lists, and then return NumPy."""
    @wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        """The function's value, a tensor if any argument is one."""
        if any(isinstance(value, Tensor) for value in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        return function(*map(_tensor, args),
                        **{name: _tensor(value) for name, value in kwargs.items()}).numpy()
    return either


def _tensor(value: object) -> object:
    if isinstance(value, np.ndarray | list | tuple):
        return torch.as_tensor(np.asarray(value, dtype=np.float64))
    return value


def _gap(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
         reference_rejected: Tensor) -> Tensor:
    return (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)


def _token_gap(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
               reference_rejected: Tensor, chosen_lengths: Tensor,
               rejected_lengths: Tensor) -> Tensor:
    return ((policy_chosen - reference_chosen) / chosen_lengths
            - (policy_rejected - reference_rejected) / rejected_lengths)


@_numpy_or_torch
def sft_loss(logps: Tensor, mask: Tensor, tokens: float | None = None) -> Tensor:
    """Mean negative log-probability over response tokens.

    logps, mask: any equal shape, e.g. [batch, tokens]; mask 1 on response tokens (the end-of-turn
    token included). tokens: the divisor, by default the tokens of `mask`. Divided by the tokens of
    the whole optimizer step, the losses of its parts add up to the step's; a mean of the parts'
    means would weight a token by its part. Raises ValueError for a mask without a token.
    """
    divisor = mask.sum() if tokens is None else tokens
    if divisor == 0:
        raise ValueError("the mask has no response token, so there is no loss to take a mean of")
    return -(logps * mask).sum() / divisor


@_numpy_or_torch
def reward_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0,
                centering: float = 0.0) -> Tensor:
    """Bradley-Terry loss of a reward model, one a pair: -log sigmoid(chosen - rejected - margin).

    chosen, rejected: rewards, [pairs]. margin: by how much chosen should exceed rejected (Llama 2,
    Touvron et al. 2023, eq. 2). centering adds centering * (chosen + rejected)^2, which fixes the
    free offset near 0 (Eisenstein et al. 2023).
    """
    return softplus(margin - (chosen - rejected)) + centering * (chosen + rejected) ** 2


@_numpy_or_torch
def implicit_rewards(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Reward that DPO assigns to a response: beta * log(policy / reference), [pairs].

    Source: Rafailov et al. 2023, sec. 4. Rewards compare within one prompt only.
    """
    return beta * (policy - reference)


@_numpy_or_torch
def dpo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
             reference_rejected: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """-log sigmoid(beta d) (Rafailov et al. 2023, Eq. 7); ln 2 where policy = reference.

    label_smoothing: assumed share of flipped labels, in [0, 0.5); above 0 it is conservative DPO
    (Mitchell 2023, Eq. 3).
    """
    scaled = beta * _gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return (1 - label_smoothing) * softplus(-scaled) + label_smoothing * softplus(scaled)


@_numpy_or_torch
def robust_dpo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
                    reference_rejected: Tensor, beta: float,
                    label_smoothing: float = 0.1) -> Tensor:
    """DPO loss that is unbiased under a share `label_smoothing` of flipped labels.

    Source: Chowdhury et al. 2024. It can be negative and has no finite optimum. Raises ValueError
    for a share outside [0, 0.5).
    """
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}; robust DPO needs 0 <= share < 0.5")
    scaled = beta * _gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    mixed = (1 - label_smoothing) * softplus(-scaled) - label_smoothing * softplus(scaled)
    return mixed / (1 - 2 * label_smoothing)


@_numpy_or_torch
def ipo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
             reference_rejected: Tensor, beta: float) -> Tensor:
    """(d - 1 / (2 beta))^2 on summed log-probabilities (Azar et al. 2023, Eq. 17).

    `ipo_per_token_loss` takes means over tokens, for which the same beta sets another target.
    """
    gap = _gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return (gap - 1 / (2 * beta)) ** 2


@_numpy_or_torch
def ipo_per_token_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
                       reference_rejected: Tensor, beta: float, chosen_lengths: Tensor,
                       rejected_lengths: Tensor) -> Tensor:
    """IPO on log-ratios a token, as TRL computes it: (gap - 1 / (2 beta))^2.

    Lengths are response tokens, [pairs]. The distance to reach is in nats a token, so that a long
    answer has to move further than a short one; with `ipo_loss` both move equally far.
    """
    gap = _token_gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected,
                     chosen_lengths, rejected_lengths)
    return (gap - 1 / (2 * beta)) ** 2


@_numpy_or_torch
def length_normalised_dpo_loss(policy_chosen: Tensor, policy_rejected: Tensor,
                               reference_chosen: Tensor, reference_rejected: Tensor, beta: float,
                               chosen_lengths: Tensor, rejected_lengths: Tensor) -> Tensor:
    """-log sigmoid of beta times the gap of per-token log-ratios (Tulu 3, sec. 4.3).

    Lengths are response tokens, [pairs]. Needs a much larger beta than DPO (Tulu 3 used 5).
    """
    return softplus(-beta * _token_gap(policy_chosen, policy_rejected, reference_chosen,
                                       reference_rejected, chosen_lengths, rejected_lengths))


@_numpy_or_torch
def simpo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
               reference_rejected: Tensor, beta: float, chosen_lengths: Tensor,
               rejected_lengths: Tensor, gamma: float = 1.0) -> Tensor:
    """-log sigmoid(beta (mean logp chosen - mean logp rejected) - gamma).

    Source: Meng et al. 2024, sec. 3. The reference is not used. gamma: target margin of rewards.
    """
    gap = policy_chosen / chosen_lengths - policy_rejected / rejected_lengths
    return softplus(gamma - beta * gap)


@_numpy_or_torch
def odpo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
              reference_rejected: Tensor, beta: float, score_gaps: Tensor, alpha: float = 1.0,
              offset: str = "log") -> Tensor:
    """DPO with an offset that grows with the score gap: -log sigmoid(beta d - alpha f(gap)).

    Source: Amini et al. 2024. score_gaps: score(chosen) - score(rejected) > 0, [pairs]; f is `log`
    or `identity`. The result depends on the scale of the scores. Raises ValueError for a gap of 0
    or less, for which the log would silently drop the pair.
    """
    if bool((score_gaps <= 0).any()):
        raise ValueError("a score gap is 0 or less; odpo_loss needs chosen scored above rejected")
    if offset not in ("log", "identity"):
        raise ValueError(f"offset is {offset!r}; use log or identity")
    shift = alpha * (score_gaps.log() if offset == "log" else score_gaps)
    gap = _gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return softplus(shift - beta * gap)


@_numpy_or_torch
def cal_dpo_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
                 reference_rejected: Tensor, beta: float, coefficient: float = 0.5) -> Tensor:
    """-log sigmoid(d) + coefficient * squared distance of h from +-1 / (2 beta) (Xiao et al. 2024).

    The sigmoid has no beta. The authors' code uses coefficient 0.5.
    """
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    target = 1 / (2 * beta)
    calibration = (chosen - target) ** 2 + (rejected + target) ** 2
    return softplus(rejected - chosen) + coefficient * calibration


@_numpy_or_torch
def dpo_sft_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
                 reference_rejected: Tensor, beta: float, chosen_lengths: Tensor,
                 sft_weight: float = 1.0) -> Tensor:
    """DPO plus `sft_weight` times the chosen answer's mean negative log-probability a token.

    Source: Pang et al. 2024 (iterative RPO), who take the mean within each answer, as here; TRL
    takes it over the tokens of a batch, where a long answer weighs more. chosen_lengths: [pairs].
    """
    loss = dpo_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta)
    return loss - sft_weight * policy_chosen / chosen_lengths


@_numpy_or_torch
def bonbon_loss(policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor,
                reference_rejected: Tensor, n: int, alpha: float = 0.005) -> Tensor:
    """Distils best-of-n: SFT on the best answer plus IPO towards the gap of best-of-n.

    Source: Gui et al. 2024. chosen is the best and rejected the worst of n samples; alpha is the
    weight of the summed -log p of the best. Raises ValueError for n < 2.
    """
    gap = _gap(policy_chosen, policy_rejected, reference_chosen, reference_rejected)
    return alpha * -policy_chosen + (1 - alpha) * (gap - best_of_n_gap(n)) ** 2
