"""What a policy keeps: its loss on validation conversations, before and after each training stage.

In: summed negative log-likelihoods of the same conversations under several policies. Out: loss a
token with its interval, and the change from the policy before, paired by conversation. A loss on
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

NO_CHANGE = {"change": None, "change_low": None, "change_high": None}  # of the first policy


def retention(nll: Mapping[str, ArrayLike], tokens: Sequence[int], resamples: int = 10_000,
              seed: int = 0) -> list[Row]:
    """One row a policy: {"policy", "n", "tokens", "loss", "ci_low", "ci_high", "perplexity", ...}.

    nll: policy -> nats of each conversation, [conversations]; tokens: response tokens of each. Loss
    is token-weighted. `change`, `change_low`, `change_high` are from the policy before (None for
    the first). Intervals resample conversations, the same ones for all policies. Empty without
    conversations; raises ValueError for policies that read different numbers of them.
    """
    counts = np.asarray(tokens, dtype=float)
    values = {policy: np.asarray(nats, dtype=float) for policy, nats in nll.items()}
    _check_lengths(values, len(counts))
    if not len(counts):
        return []
    drawn = np.concatenate(list(resample_counts(len(counts), resamples, seed)))
    draws = {policy: (drawn @ nats) / (drawn @ counts) for policy, nats in values.items()}
    losses = {policy: float(nats.sum() / counts.sum()) for policy, nats in values.items()}
    rows = []
    for (policy, loss), before in zip(losses.items(), [None, *losses], strict=False):
        change = NO_CHANGE if before is None else {"change": loss - losses[before]} | _ends(
            draws[policy] - draws[before], "change")
        rows.append({"policy": policy, "n": len(counts), "tokens": int(counts.sum()), "loss": loss,
                     "perplexity": exp(loss)} | _ends(draws[policy], "ci") | change)
    return rows


def choice_accuracy(logps: Mapping[str, Sequence[Sequence[float]]]) -> list[Row]:
    """One row a policy: {"policy", "n", "chance", "accuracy", "ci_low", "ci_high", "change", ...}.

    logps: policy -> nats a token of each option, [questions][options], the true one first, which
    must be likelier than all others. `chance` is the accuracy of guessing. Intervals are score
    intervals; that of the change is paired by question. Empty without questions. Raises ValueError
    for policies with different questions, and for NaN.
    """
    values = list(logps.values())
    if not any(map(len, values)):
        return []
    _check_questions(logps)
    chance = float(np.mean([1 / len(options) for options in values[0]]))
    hits = {policy: np.array([options[0] > max(options[1:]) for options in questions], dtype=float)
            for policy, questions in logps.items()}
    rows = []
    for policy, before in zip(hits, [None, *hits], strict=False):
        low, high = mean_interval(hits[policy])
        change = NO_CHANGE if before is None else _gained(hits[policy], hits[before])
        rows.append({"policy": policy, "n": len(hits[policy]), "chance": chance,
                     "accuracy": float(hits[policy].mean()), "ci_low": low, "ci_high": high}
                    | change)
    return rows


def _gained(hits: np.ndarray, before: np.ndarray) -> Row:
    """Change of the accuracy; a question turned right is a win, turned wrong a loss."""
    low, high = mean_interval((hits - before + 1) / 2)
    return {"change": float((hits - before).mean()), "change_low": 2 * low - 1,
            "change_high": 2 * high - 1}


def _ends(draws: np.ndarray, name: str) -> dict[str, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _check_questions(logps: Mapping[str, Sequence[Sequence[float]]]) -> None:
    (first, expected), *others = ((policy, list(map(len, questions)))
                                  for policy, questions in logps.items())
    for policy, found in others:
        if found != expected:
            raise ValueError(f"{policy} answered {len(found)} questions and {first} "
                             f"{len(expected)}, or with other options; give every policy the same")
    for policy, questions in logps.items():
        if any(np.isnan(options).any() for options in questions):
            raise ValueError(f"an option of {policy} has no log-probability; measure it again")


def _check_lengths(values: Mapping[str, np.ndarray], conversations: int) -> None:
    for policy, nats in values.items():
        if len(nats) != conversations:
            raise ValueError(f"{policy} read {len(nats)} conversations of {conversations}; "
                             "every policy must read the same ones")
