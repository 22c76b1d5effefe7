"""RLOO's arithmetic (Ahmadian et al. 2024): shaped rewards, leave-one-out advantages, clipped loss.

With pi_old the policy that sampled, rho = pi / pi_old is what replay corrects by: several updates
on the same answers, each kept near pi_old by PPO's clipping (Schulman et al. 2017). Everything here
is a pure function; `lib.training.on_policy.policy_gradient` trains with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

LARGEST_LOG_RATIO = 300.0  # its square is a finite float64


def shaped_rewards(rewards: ArrayLike, old_logps: ArrayLike, reference_logps: ArrayLike,
                   kl_weight: float) -> np.ndarray:
    """reward - kl_weight * (log pi_old - log reference), elementwise; log-probs are answers' sums.

    The penalty is part of the reward, a constant of the sample, and carries no gradient.
    """
    return np.asarray(rewards, float) - kl_weight * np.subtract(old_logps, reference_logps)


def leave_one_out_advantages(rewards: ArrayLike) -> np.ndarray:
    """Each reward less the mean of the other k - 1 of its prompt, [k] or [prompts, k].

    All k must be samples of one policy, so that the others are a baseline without bias. They sum to
    0; with k = 2 they are +-(R1 - R2). Raises ValueError for k = 1, which has no other.
    """
    rewards = np.asarray(rewards, float)
    k = rewards.shape[-1]
    if k < 2:
        raise ValueError(f"a prompt has {k} answer; leave-one-out needs at least 2 of each prompt")
    return k / (k - 1) * (rewards - rewards.mean(-1, keepdims=True))


def clipped_loss(log_ratios: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - clip, 1 + clip) A), elementwise over tokens or whole answers.

    At rho = 1 its gradient is REINFORCE's, -A grad log pi. A whole answer's ratio is TRL's; over
    300 tokens a mean shift of .001 nats a token makes it 1.35, beyond any usual clip.
    """
    ratios = log_ratios.exp()
    return -torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages)


def is_clipped(log_ratios: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Where the clipped loss has no gradient: a gain beyond 1 + clip, a loss below 1 - clip.

    On the other side (A > 0 and rho < 1 - clip, or A < 0 and rho > 1 + clip) it stays whole.
    """
    ratios = log_ratios.exp()
    return ((advantages > 0) & (ratios > 1 + clip)) | ((advantages < 0) & (ratios < 1 - clip))


def effective_sample_size(log_ratios: Tensor) -> float:
    """(sum rho)^2 / sum rho^2: as many samples of the policy itself would say as much."""
    ratios = ratios_of(log_ratios)
    return float(ratios.sum() ** 2 / (ratios ** 2).sum())


def ratios_of(log_ratios: Tensor) -> Tensor:
    """rho as float64, finite also where a replayed answer has become far more probable."""
    return log_ratios.double().clamp(max=LARGEST_LOG_RATIO).exp()


class KLEstimates(NamedTuple):
    """Estimates of KL(p || q) at a sample of p, in nats; k1 and k3 are unbiased, k2 and k3 >= 0."""

    k1: Tensor
    k2: Tensor
    k3: Tensor


def kl_estimates(logps: Tensor, other_logps: Tensor) -> KLEstimates:
    """k1 = log p - log q, k2 = k1^2 / 2, k3 = q / p - 1 - log(q / p) (Schulman 2020)."""
    k1 = logps - other_logps
    return KLEstimates(k1, k1 ** 2 / 2, torch.expm1(-k1) + k1)


def generalised_advantages(rewards: Sequence[float], values: Sequence[float], gamma: float,
                           lam: float) -> np.ndarray:
    """PPO's advantage of every token from a critic's values (Schulman et al. 2016), [tokens].

    A_t = sum_l (gamma lam)^l delta_(t+l), delta_t = r_t + gamma V_(t+1) - V_t, V = 0 after the end.
    RLOO has no critic: it is gamma = lam = 1 with one baseline for the whole answer.
    """
    deltas = np.add(rewards, gamma * np.append(values[1:], 0.0)) - values
    advantages, later = np.zeros(len(deltas)), 0.0
    for place in reversed(range(len(deltas))):
        later = advantages[place] = deltas[place] + gamma * lam * later
    return advantages
