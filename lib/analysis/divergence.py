"""How far a policy has moved from its reference, estimated on the policy's own samples.

With d = log pi(y) - log ref(y) summed over a sampled answer: k1 = d is unbiased and noisy, k2 = d^2
/ 2 biased and calm, k3 = exp(-d) - 1 + d unbiased and never negative (Schulman 2020). Answers must
be drawn from the policy at the temperature at which both are scored.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.analysis.resampling import paired_bootstrap

Row = dict[str, Any]


def kl_terms(policy_logps: ArrayLike, reference_logps: ArrayLike) -> dict[str, NDArray]:
    """k1, k2 and k3 of each answer from its two summed log-probabilities, [answers] each."""
    d = np.asarray(policy_logps, dtype=float) - np.asarray(reference_logps, dtype=float)
    return {"k1": d, "k2": d**2 / 2, "k3": np.expm1(-d) + d}


def kl_divergence(policy_logps: ArrayLike, reference_logps: ArrayLike,
                  resamples: int = 10_000, seed: int = 0) -> Row:
    """KL(policy || reference) in nats an answer: mean of k1 with its bootstrap interval, and of k3.

    Far from the reference k3 hangs on a few answers; read k1 there.
    """
    found = asdict(paired_bootstrap(policy_logps, reference_logps, resamples, seed))
    terms = kl_terms(policy_logps, reference_logps)
    return {"kl": found["mean"], "ci_low": found["low"], "ci_high": found["high"],
            "kl_k3": float(np.nanmean(terms["k3"])), "n": found["n"]}
