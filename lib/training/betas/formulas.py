"""What a batch's gaps, a measured KL, or best-of-n do to beta, as pure functions.

A gap is d of `lib.training.losses`: how far the policy moved chosen and rejected apart, in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_BETA = 1e-3  # of beta-DPO's authors
LEAST_SD = 1e-4  # nats; gaps of a policy that has not moved deviate by rounding alone
MOST_ERROR = 0.2  # of Ziegler et al.: by which an error of KL counts at most


@dataclass(frozen=True)
class RunningMoments:
    """Moving averages of the batches' mean gap and standard deviation, in nats.

    They begin at 0; `weight` is what all batches together weigh in them, 1 - momentum^batches.
    """

    mean: float = 0.0
    sd: float = 0.0
    weight: float = 0.0

    def after(self, gaps: Sequence[float], momentum: float) -> "RunningMoments":
        """The averages with a further batch; a single gap has a deviation of 0."""
        sd = float(np.std(gaps, ddof=1)) if len(gaps) > 1 else 0.0
        old, new = (self.mean, self.sd, self.weight), (float(np.mean(gaps)), sd, 1.0)
        return RunningMoments(*(momentum * before + (1 - momentum) * now
                                for before, now in zip(old, new, strict=True)))

    def debiased(self) -> "RunningMoments":
        """The averages over the batches alone, without the zeros that they began with."""
        return self if not self.weight else RunningMoments(
            self.mean / self.weight, self.sd / self.weight, 1.0)


def filter_log_weights(gaps: Sequence[float], moments: RunningMoments) -> np.ndarray:
    """Logarithm of beta-DPO's weight of each pair, -(gap - mean)^2 / (2 sd^2), [pairs].

    Source: Wu et al. 2024. Far from the mean the weights themselves would underflow. All are 0
    where batches deviated by less than `LEAST_SD`, as before the first step.
    """
    distance = np.asarray(gaps, dtype=float) - moments.mean
    near = moments.sd < LEAST_SD
    return np.zeros_like(distance) if near else -0.5 * (distance / moments.sd) ** 2


def filtered(log_weights: np.ndarray, filtered_share: float,
             generator: np.random.Generator) -> list[int]:
    """Indices of the pairs that a batch keeps, drawn by weight without replacement, in order.

    So many are kept as 1 - filtered_share of the pairs, rounded down, and at least one.
    """
    kept = max(1, int((1 - filtered_share) * len(log_weights) + 1e-9))
    keys = log_weights + generator.gumbel(size=len(log_weights))  # the largest are such a draw
    return sorted(np.argsort(-keys, kind="stable")[:kept].tolist())


def dynamic_beta(beta: float, mean_gap: float, running_mean: float, strength: float) -> float:
    """beta (1 + strength (mean gap - running mean)), at least 0.001.

    Source: Wu et al. 2024. mean_gap is of the batch's kept pairs.
    """
    return max(LEAST_BETA, beta * (1 + strength * (mean_gap - running_mean)))


def adaptive_beta(beta: float, kl: float, target: float, pairs: float, horizon: float) -> float:
    """beta (1 + e pairs / horizon) with e = kl / target - 1, clipped to [-0.2, 0.2].

    Source: Ziegler et al. 2019, sec. 2.2. kl: of fresh samples of the policy, in nats an answer;
    pairs: trained on since the last measurement.
    """
    error = min(max(kl / target - 1, -MOST_ERROR), MOST_ERROR)
    return beta * (1 + error * pairs / horizon)


def best_of_n_gap(n: int) -> float:
    """Expected d between the best and the worst of n samples under best-of-n: (n - 1) H_(n-1).

    In nats, H being the harmonic number (Gui et al. 2024). Raises ValueError for n < 2.
    """
    if n < 2:
        raise ValueError(f"n is {n}; best and worst of n samples need n of at least 2")
    return (n - 1) * sum(1 / k for k in range(1, n))
