"""KL divergence of a policy from its reference, estimated on the policy's own samples.

Best-of-N's bound log N - (N-1)/N is relative to the sampler that draws its candidates, temperature
and top-k included: `sampler_divergence` compares with it, a KL over the whole vocabulary does not.

With d = log pi(y) - log ref(y) summed over a sampled answer, k1 = d and k3 = exp(-d) - 1 + d are
unbiased, and k3 is never negative (Schulman 2020). Answers must be drawn from the policy at the
temperature at which both are scored.
"""

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.statistics.bootstrap import paired_bootstrap
from lib.analysis.statistics.intervals import wilson_interval
from lib.runtime.files import Row


def kl_divergence(policy_logps: ArrayLike, reference_logps: ArrayLike, exact: ArrayLike,
                  resamples: int = 10_000, seed: int = 0) -> Row:
    """KL(policy || reference) in nats an answer, [answers] each: its estimates with intervals.

    `kl` is the mean of `exact` (KL over the vocabulary at each token, summed over the answer), with
    the lowest variance; `k1` with its interval and `k3` use the sampled tokens alone. Intervals
    resample answers. Far from the reference a few answers dominate k3.
    """
    exact = np.asarray(exact, dtype=float)
    d = np.asarray(policy_logps, dtype=float) - np.asarray(reference_logps, dtype=float)
    full = paired_bootstrap(exact, np.zeros_like(exact), resamples, seed)
    sampled = paired_bootstrap(policy_logps, reference_logps, resamples, seed)
    return {"kl": full.mean, "ci_low": full.low, "ci_high": full.high, "n": full.n,
            "k1": sampled.mean, "k1_low": sampled.low, "k1_high": sampled.high,
            "k3": float(np.nanmean(np.expm1(-d) + d))}


def sampler_divergence(policy_logps: ArrayLike, reference_logps: ArrayLike, exact: ArrayLike,
                       outside: ArrayLike, resamples: int = 10_000, seed: int = 0) -> Row:
    """KL between two samplers, in nats an answer, on the tokens that both of them can write.

    As `kl_divergence`, with log-probabilities under the samplers, without k3. Where top-k drops a
    token of the policy from the reference the KL itself is infinite; `outside` (tokens of each
    answer, [answers]) becomes the share of answers with such a token, with its interval.
    """
    found = kl_divergence(policy_logps, reference_logps, exact, resamples, seed)
    del found["k3"]  # needs the tokens that are left out
    reached = np.asarray(outside) > 0
    low, high = wilson_interval(int(reached.sum()), len(reached))
    return found | {"outside": float(reached.mean()), "outside_low": low, "outside_high": high}
