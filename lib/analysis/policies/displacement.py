"""Likelihood displacement: DPO's effect on the answers of its validation pairs.

In: rows of metrics.jsonl and of validation_rewards.jsonl, which holds for each pair the implicit
rewards of its chosen and rejected answer after training, and the number of its prompt. Intervals
count prompts, because pairs of one prompt are correlated.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.judges.quality import pair_accuracy
from lib.analysis.statistics.clusters import clustered_mean_interval
from lib.runtime.files import Row


def reward_accuracy(rewards: Sequence[Row]) -> Row:
    """Share of pairs whose chosen answer has the higher implicit reward: a `pair_accuracy` row.

    Every figure, table and sentence uses this accuracy and interval. Empty without pairs.
    """
    return pair_accuracy(_gaps(rewards), _prompts(rewards)) if rewards else {}


def reward_intervals(rewards: Sequence[Row]) -> dict[str, list[float]]:
    """95 % intervals of the mean rewards and their margin, by the names of metrics.jsonl.

    Empty without pairs.
    """
    if not rewards:
        return {}
    values: dict[str, ArrayLike] = {"rewards/chosen": [row["chosen"] for row in rewards],
                                    "rewards/rejected": [row["rejected"] for row in rewards],
                                    "rewards/margins": _gaps(rewards)}
    return {name: list(clustered_mean_interval(found, _prompts(rewards)))
            for name, found in values.items()}


def displacement(metrics: Sequence[Row], rewards: Sequence[Row], beta: float) -> list[Row]:
    """DPO's change of the log-probabilities of validation answers: one row a side, chosen first.

    {"side", "before", "after", "change", "change_low", "change_high", "n"} in nats an answer. The
    margin may grow while both fall (likelihood displacement, Razin et al. 2410.08847). A pair's
    gains over the reference, where training began, are its changes; rows of an older run lack
    them, and there a reward / beta is the gain. Empty without two evaluations.
    """
    rows = sorted((row for row in metrics if row.get("split") == "validation"),
                  key=lambda row: row["step"])
    if len(rows) < 2:
        return []
    ends = [(side, rows[0][f"logps/{side}"], rows[-1][f"logps/{side}"])
            for side in ("chosen", "rejected")]
    found = []
    for side, before, after in ends:
        gains = [row.get(f"{side}_gain", row[side] / beta) for row in rewards]
        low, high = clustered_mean_interval(gains, _prompts(rewards))
        found.append({"side": side, "before": before, "after": after, "change": after - before,
                      "n": rows[-1]["n"], "change_low": low, "change_high": high})
    return found


def _gaps(rewards: Sequence[Row]) -> np.ndarray:
    return np.array([row["chosen"] - row["rejected"] for row in rewards], dtype=float)


def _prompts(rewards: Sequence[Row]) -> np.ndarray:
    return np.array([row["prompt"] for row in rewards])
