"""How far a policy has moved from its reference, estimated on the policy's own samples.

With d = log pi(y) - log ref(y) summed over a sampled answer: k1 = d is unbiased and noisy, k2 = d^2
/ 2 biased and calm, k3 = exp(-d) - 1 + d unbiased and never negative (Schulman 2020). Answers must
be drawn from the policy at the temperature at which both are scored.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.statistics.bootstrap import paired_bootstrap
from lib.runtime.files import Row


def kl_terms(policy_logps: ArrayLike, reference_logps: ArrayLike) -> dict[str, NDArray]:
    """k1, k2 and k3 of each answer from its two summed log-probabilities, [answers] each."""
    d = np.asarray(policy_logps, dtype=float) - np.asarray(reference_logps, dtype=float)
    return {"k1": d, "k2": d**2 / 2, "k3": np.expm1(-d) + d}


def kl_divergence(policy_logps: ArrayLike, reference_logps: ArrayLike, exact: ArrayLike,
                  resamples: int = 10_000, seed: int = 0) -> Row:
    """KL(policy || reference) in nats an answer, [answers] each: its estimates with intervals.

    `kl` is the mean of `exact` (KL over the vocabulary at each token, summed over the answer), the
    calmest estimate; `k1` with its interval and `k3` use the sampled tokens alone. Intervals
    resample answers. Far from the reference k3 hangs on a few answers.
    """
    exact = np.asarray(exact, dtype=float)
    calm = paired_bootstrap(exact, np.zeros_like(exact), resamples, seed)
    sampled = paired_bootstrap(policy_logps, reference_logps, resamples, seed)
    return {"kl": calm.mean, "ci_low": calm.low, "ci_high": calm.high, "n": calm.n,
            "k1": sampled.mean, "k1_low": sampled.low, "k1_high": sampled.high,
            "k3": float(np.nanmean(kl_terms(policy_logps, reference_logps)["k3"]))}
