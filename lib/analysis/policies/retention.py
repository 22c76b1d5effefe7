"""What a policy keeps: its loss on held-out conversations, before and after each training stage.

In: summed negative log-likelihoods of the same conversations under several policies. Out: loss a
token with its interval, and the change from the policy before, paired by conversation. Loss on
ordinary answers that rises after DPO is the price of the preference (the alignment tax). The same
for a multiple choice: how often is the true continuation the likeliest?
"""

from collections.abc import Mapping, Sequence
from math import exp

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.statistics.bootstrap import resample_counts
from lib.analysis.statistics.intervals import mean_interval
from lib.runtime.files import Row


def retention(nll: Mapping[str, ArrayLike], tokens: Sequence[int], resamples: int = 10_000,
              seed: int = 0, confidence: float = 0.95) -> list[Row]:
    """One row a policy: {"policy", "n", "tokens", "loss", "ci_low", "ci_high", "perplexity", ...}.

    nll: policy -> nats of each conversation, [conversations]; tokens: response tokens of each. Loss
    is token-weighted. `change`, `change_low`, `change_high` are from the policy before (None for
    the first). Intervals resample conversations, the same ones for all policies. Raises ValueError
    for policies that read different numbers of conversations, and for none.
    """
    counts = np.asarray(tokens, dtype=float)
    values = {policy: np.asarray(nats, dtype=float) for policy, nats in nll.items()}
    _check_lengths(values, len(counts))
    draws = _resampled(values, counts, resamples, seed)
    losses = {policy: float(nats.sum() / counts.sum()) for policy, nats in values.items()}
    return [{"policy": policy, "n": len(counts), "tokens": int(counts.sum()), "loss": loss,
             "perplexity": exp(loss)} | _ends(draws[policy], "ci", confidence)
            | _change(policy, before, losses, draws, confidence)
            for (policy, loss), before in zip(losses.items(), [None, *losses], strict=False)]


def choice_accuracy(logps: Mapping[str, Sequence[Sequence[float]]],
                    confidence: float = 0.95) -> list[Row]:
    """One row a policy: {"policy", "n", "chance", "accuracy", "ci_low", "ci_high", "change", ...}.

    logps: policy -> nats a token of each option, [questions][options], the true one first; right
    is the one that is likelier than all others. `chance` is what guessing gets. Intervals are score
    intervals, of the change over the questions that both policies answered. Empty without
    questions. Raises ValueError for policies that were asked differently, and for NaN.
    """
    values = list(logps.values())
    if not any(map(len, values)):
        return []
    _check_questions(logps)
    chance = float(np.mean([1 / len(options) for options in values[0]]))
    hits = {policy: np.array([options[0] > max(options[1:]) for options in asked], dtype=float)
            for policy, asked in logps.items()}
    rows = []
    for policy, before in zip(hits, [None, *hits], strict=False):
        low, high = mean_interval(hits[policy], confidence)
        rows.append({"policy": policy, "n": len(hits[policy]), "chance": chance,
                     "accuracy": float(hits[policy].mean()), "ci_low": low, "ci_high": high}
                    | _gained(hits[policy], hits.get(before), confidence))
    return rows


def _gained(hits: np.ndarray, before: np.ndarray | None, confidence: float) -> Row:
    """Change of the accuracy; a question that turned right is a win, one that turned wrong a loss.
    """
    if before is None:
        return {"change": None, "change_low": None, "change_high": None}
    low, high = mean_interval((hits - before + 1) / 2, confidence)
    return {"change": float((hits - before).mean()), "change_low": 2 * low - 1,
            "change_high": 2 * high - 1}


def _check_questions(logps: Mapping[str, Sequence[Sequence[float]]]) -> None:
    (first, expected), *others = ((policy, list(map(len, asked)))
                                  for policy, asked in logps.items())
    for policy, found in others:
        if found != expected:
            raise ValueError(f"{policy} answered {len(found)} questions and {first} "
                             f"{len(expected)}, or with other options; ask every policy the same")
    for policy, asked in logps.items():
        if any(np.isnan(options).any() for options in asked):
            raise ValueError(f"an option of {policy} has no log-probability; measure it again")


def _resampled(values: Mapping[str, np.ndarray], counts: np.ndarray, resamples: int,
               seed: int) -> dict[str, np.ndarray]:
    """Each policy's loss a token over the same resampled conversations, [resamples]."""
    drawn = np.concatenate(list(resample_counts(len(counts), resamples, seed)))
    return {policy: (drawn @ nats) / (drawn @ counts) for policy, nats in values.items()}


def _change(policy: str, before: str | None, losses: Mapping[str, float],
            draws: Mapping[str, np.ndarray], confidence: float) -> Row:
    if before is None:
        return {"change": None, "change_low": None, "change_high": None}
    return {"change": losses[policy] - losses[before]} | _ends(
        draws[policy] - draws[before], "change", confidence)


def _ends(draws: np.ndarray, name: str, confidence: float) -> dict[str, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _check_lengths(values: Mapping[str, np.ndarray], conversations: int) -> None:
    if not conversations:
        raise ValueError("no conversation was set aside; retention needs at least one")
    for policy, nats in values.items():
        if len(nats) != conversations:
            raise ValueError(f"{policy} read {len(nats)} conversations of {conversations}; "
                             "every policy must read the same ones")
