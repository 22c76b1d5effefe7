"""Best-of-N: which of a prompt's answers it picks, what that gains, and what it costs in KL.

Rewards are arrays [N] for one prompt or [prompts, N], and the result has one entry a prompt. NaN
(or None) is a missing reward. The unbiased curve over n is that of WebGPT (Nakano et al. 2021), the
KL bound that of Gao et al. 2022 and Beirami et al. 2024.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, rel_entr, softmax


def best_of_n(rewards: Sequence[float | None]) -> int | None:
    """Index of the highest reward, the lowest index where several are equal.

    Missing rewards are never chosen; None where all are missing.
    """
    values = _rewards(rewards)
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def random_of_n(n: int, prompt_id: str, seed: int = 0) -> int:
    """Control for Best-of-N: a random index, always the same for one prompt and seed.

    Best-of-N minus this choice among the same candidates is what the reward adds.
    """
    if n < 1:
        raise ValueError(f"n is {n}; a choice needs at least 1 candidate")
    return int(generator_of(prompt_id, seed).integers(n))


def generator_of(prompt_id: str, seed: int = 0) -> np.random.Generator:
    """A random stream that is always the same for one prompt and seed."""
    digest = hashlib.sha256(f"{seed}\n{prompt_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def best_of_n_curve(proxy: ArrayLike, gold: ArrayLike) -> np.ndarray:
    """Expected gold value of the answer that the proxy picks among n of N samples, n = 1..N.

    proxy and gold [N] or [prompts, N], without missing values; returns the same shape, n - 1 on
    the last axis. Unbiased: the mean over all subsets of n, computed from the sorted proxy as
    sum_i C(i-1, n-1) / C(N, n) * gold_i (Nakano et al. 2021, app. I). Samples with equal proxies
    share their mean gold, so that the curve does not depend on the order of the samples. Use gold =
    proxy for the curve of the proxy itself, and gold = 1[beats the opponent] for a win rate.
    """
    proxy, gold = np.asarray(proxy, float), np.asarray(gold, float)
    if proxy.shape != gold.shape or proxy.ndim not in (1, 2) or proxy.size == 0:
        raise ValueError(f"proxy has shape {proxy.shape} and gold {gold.shape}; both must be [N] "
                         "or [prompts, N] with N of at least 1")
    if np.isnan(proxy).any() or np.isnan(gold).any():
        raise ValueError("a reward is missing (NaN); leave out prompts without all N rewards")
    sizes = range(1, proxy.shape[-1] + 1)
    return np.stack([(pick_probabilities(proxy, n) * gold).sum(-1) for n in sizes], axis=-1)


def pick_probabilities(rewards: ArrayLike, n: int) -> np.ndarray:
    """P(a candidate is the best of n drawn without replacement from the K of its prompt), [..., K].

    rewards [..., K]: missing ones are not drawn (probability 0), and equal ones share what falls to
    them together. The probabilities of a prompt sum to 1; they are NaN where fewer than n are left.
    Source: Nakano et al. 2021, app. I, with ties.
    """
    values = _rewards(rewards)
    if n < 1:
        raise ValueError(f"n is {n}; a draw needs at least 1 candidate")
    present = ~np.isnan(values)
    others, drawn = values[..., None, :], present.sum(-1)[..., None]
    below, equal = (others < values[..., None]).sum(-1), (others == values[..., None]).sum(-1)
    least = np.maximum(equal, 1)  # a missing reward equals none
    chances = (_share(below + equal, drawn, n) - _share(below, drawn, n)) / least
    return np.where(drawn < n, np.nan, np.where(present, chances, 0.0))


def _share(part: np.ndarray, whole: np.ndarray, n: int) -> np.ndarray:
    """C(part, n) / C(whole, n): the share of draws of n that stay within a part; 0 below n."""
    counts = np.arange(max(n, whole.max(initial=n)) + 1)
    logs = _log_binomial(np.maximum(counts, n), n)
    shares = np.where(counts >= n, np.exp(logs - logs[:, None]), 0.0)  # [whole, part], each once
    return shares[whole, part]


def _log_binomial(n: ArrayLike, k: int) -> np.ndarray:
    return gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)


def kl_bound(n: ArrayLike) -> np.ndarray | float:
    """Upper bound log n - (n - 1) / n on KL(Best-of-n || sampling distribution), in nats.

    Where candidates repeat (low temperature) the bound can be far above the KL (Beirami et al.
    2024). The sampling distribution includes temperature and top-k; it is not the policy itself.
    """
    n = np.asarray(n, float)
    if (n < 1).any():
        raise ValueError(f"n is {n.min():g}; Best-of-n needs n of at least 1")
    bound = np.log(n) - (n - 1) / n
    return float(bound) if bound.ndim == 0 else bound


def exact_kl(probabilities: ArrayLike, n: int) -> float:
    """KL(Best-of-n || sampling distribution) in nats, for outcomes in ascending order of reward.

    probabilities [outcomes], summing to 1; outcomes of equal reward are one. The best of n is
    outcome i with F_i^n - F_(i-1)^n, F being the cumulative probability.
    """
    single = np.asarray(probabilities, float)
    if n < 1 or (single < 0).any() or abs(single.sum() - 1) > 1e-9:
        raise ValueError(f"n is {n} and the probabilities sum to {single.sum():g}; use n of at "
                         "least 1 and probabilities that sum to 1")
    best = np.diff(np.minimum(np.cumsum(single), 1) ** n, prepend=0.0)
    return float(rel_entr(best, single).sum())


def soft_best_of_n(rewards: ArrayLike, lam: float) -> np.ndarray:
    """Probability of each candidate under soft Best-of-N, exp(reward / lam) normalised.

    rewards [..., N], lam in units of the reward: towards 0 it is Best-of-N, towards infinity plain
    sampling. Missing rewards get probability 0. Source: Verdun et al. 2025.
    """
    if not lam > 0:
        raise ValueError(f"lam is {lam}; use a positive number, small for plain Best-of-N")
    values = _rewards(rewards)
    if np.isnan(values).all(-1).any():
        raise ValueError("all rewards of a prompt are missing; leave the prompt out")
    return softmax(np.where(np.isnan(values), -np.inf, values) / lam, axis=-1)


def mbr_best_of_n(rewards: ArrayLike, similarity: ArrayLike, beta: float) -> int | np.ndarray:
    """Index of the highest reward + beta * mean similarity to all candidates, itself included.

    rewards [N] or [prompts, N]; similarity [N, N] or [prompts, N, N]. beta is in units of the
    reward, so standardise rewards within a prompt first. Ties go to the lowest index, missing
    rewards are never chosen. Source: Jinnai et al. 2024 (MBR-BoN).
    """
    values, similarity = _rewards(rewards), np.asarray(similarity, float)
    if similarity.shape != (*values.shape, values.shape[-1]):
        raise ValueError(f"similarity has shape {similarity.shape} for rewards {values.shape}; "
                         "it needs one more axis of the length of the last")
    return _highest(values + beta * similarity.mean(-1))


def kl_best_of_n(rewards: ArrayLike, logps: ArrayLike, beta: float) -> int | np.ndarray:
    """Index of the highest reward + beta * log pi(y|x), pi being the policy that answered.

    rewards and logps (nats, summed over an answer's tokens) [N] or [prompts, N]. beta is in units
    of the reward a nat, so standardise rewards within a prompt first. It favours short answers,
    whose log-probabilities are higher. Ties go to the lowest index, missing values are never
    chosen. Source: Jinnai et al. 2024 (RBoN with a KL term).
    """
    values, logps = _rewards(rewards), _rewards(logps)
    if logps.shape != values.shape:
        raise ValueError(f"logps has shape {logps.shape} for rewards {values.shape}; both must be "
                         "alike")
    return _highest(values + beta * logps)


def _highest(scores: np.ndarray) -> int | np.ndarray:
    """Index of the highest score on the last axis, the lowest index where several are equal."""
    if np.isnan(scores).all(-1).any():
        raise ValueError("all rewards of a prompt are missing; leave the prompt out")
    best = np.nanargmax(scores, -1)
    return int(best) if best.ndim == 0 else best


def _rewards(rewards: ArrayLike | Sequence[float | None]) -> np.ndarray:
    """Rewards as floats; None becomes NaN."""
    values = np.array(rewards, dtype=float)
    if values.size == 0:
        raise ValueError("there are no rewards; Best-of-N needs at least 1 candidate")
    return values
