"""BOND (Sessa et al. 2024): train the policy towards the distribution of Best-of-N itself.

Best-of-N of a reference has the law of `best_of_n_law`. The Jeffreys divergence to it has a forward
part, SFT on best-of-N samples, and a backward part, policy gradient with the reward log p_le(y) and
a KL weight of 1 / (N - 1); p_le(y) is the chance that a sample of the reference scores no more.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr


def quantiles(rewards: ArrayLike, reference_rewards: ArrayLike) -> np.ndarray:
    """Estimates p_le of rewards [..., m] from reference samples' rewards [..., k] of their prompt.

    The share of these at or below, at least 1 / (k + 1), so that the log is finite. Missing (NaN)
    reference rewards are left out; a missing reward, or a prompt without references, gives NaN.
    """
    rewards = np.asarray(rewards, float)[..., None]
    others = np.asarray(reference_rewards, float)[..., None, :]
    k = (~np.isnan(others)).sum(-1)
    share = (others <= rewards).sum(-1) / np.where(k, k, np.nan)
    return np.where(np.isnan(rewards[..., 0]), np.nan, np.maximum(share, 1 / (k + 1)))


def best_of_n_law(reference: ArrayLike, n: int) -> np.ndarray:
    """Probabilities of outcomes as best of n, from the reference's, both by ascending reward.

    reference(y) p_le^(n-1) sum_i (p_lt / p_le)^(i-1) over i = 1..n (Theorem 1); without ties in
    reward it is p_le^n - p_lt^n.
    """
    reference = np.asarray(reference, float)
    at_most = np.cumsum(reference)
    below = at_most - reference
    powers = (below / at_most)[:, None] ** np.arange(n)
    return reference * at_most ** (n - 1) * powers.sum(-1)


def kl_weight(n: int) -> float:
    """1 / (n - 1): with this KL weight, the best reward-maximiser of log p_le is near Best-of-n."""
    if n < 2:
        raise ValueError(f"n is {n}; the best of n needs n of at least 2")
    return 1 / (n - 1)


def jeffreys_terms(policy: ArrayLike, target: ArrayLike) -> tuple[float, float]:
    """KL(target || policy) and KL(policy || target) of two laws over the same outcomes, in nats."""
    return (float(rel_entr(target, policy).sum()), float(rel_entr(policy, target).sum()))


def jeffreys(policy: ArrayLike, target: ArrayLike, backward: float) -> float:
    """(1 - backward) KL(target || policy) + backward KL(policy || target), in nats (Eq. 11)."""
    forward_kl, backward_kl = jeffreys_terms(policy, target)
    return (1 - backward) * forward_kl + backward * backward_kl


def backward_scores(rewards: ArrayLike, reference_rewards: ArrayLike, n: int,
                    backward: float) -> np.ndarray:
    """Scores whose policy gradient with KL weight `backward` is that of the backward part.

    -grad KL(policy || best of n) = (n - 1) E[grad log pi (log p_le - kl_weight(n) (log pi -
    log reference))] (Eq. 15), so the scores are backward (n - 1) log p_le and the KL's own weight
    is `backward`: both terms then are in nats and add to the forward part.
    """
    return backward / kl_weight(n) * np.log(quantiles(rewards, reference_rewards))
