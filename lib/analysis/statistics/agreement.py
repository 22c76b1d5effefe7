"""Agreement of two judges beyond chance, on any labels (a win, a tie, a class).

An item that either judge left unlabelled (None or NaN) does not count.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np


def agreement(a: Sequence[Hashable], b: Sequence[Hashable]) -> dict[str, Any]:
    """Raw agreement, Cohen's kappa and Gwet's AC1: {"n", "missing", "agreement", "kappa", "ac1"}.

    `missing` items lack a label. Kappa is None where both judges give one and the same label
    throughout, and it falls where one label dominates (a win rate of .93); AC1 does neither, so
    quote both. All are None when no item has both labels.
    """
    left, right = _labelled(a, b)
    if not left:
        return {"n": 0, "missing": len(a), "agreement": None, "kappa": None, "ac1": None}
    kappa = cohen_kappa(left, right)
    return {"n": len(left), "missing": len(a) - len(left),
            "agreement": float(np.mean([x == y for x, y in zip(left, right, strict=True)])),
            "kappa": None if np.isnan(kappa) else kappa, "ac1": gwet_ac1(left, right)}


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """(agreement - chance) / (1 - chance), with chance from both judges' marginals (Cohen 1960).

    NaN where both judges give one and the same label throughout.
    """
    from sklearn.metrics import cohen_kappa_score  # takes a second to import
    left, right = _labelled(a, b, fewest=1)
    if len(set(left) | set(right)) == 1:
        return float("nan")  # chance agreement is 1: the ratio is 0 / 0
    codes = _codes(left + right)
    return float(cohen_kappa_score(codes[:len(left)], codes[len(left):]))


def gwet_ac1(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Gwet's (2008) AC1: chance = sum of p (1 - p) over labels, divided by labels - 1."""
    left, right = _labelled(a, b, fewest=1)
    codes = _codes(left + right)
    same = float(np.mean(codes[:len(left)] == codes[len(left):]))
    share = np.bincount(codes) / len(codes)
    chance = float(np.sum(share * (1 - share)) / max(len(share) - 1, 1))
    return (same - chance) / (1 - chance)


def _codes(labels: list[Hashable]) -> np.ndarray:
    """Each label as an integer."""
    number = {label: position for position, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels])


def _labelled(a: Sequence[Hashable], b: Sequence[Hashable],
              fewest: int = 0) -> tuple[list[Hashable], list[Hashable]]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} labels against {len(b)}; both judges must label the same items")
    kept = [(x, y) for x, y in zip(a, b, strict=True) if not (_missing(x) or _missing(y))]
    if len(kept) < fewest:
        raise ValueError("no item has a label from both judges; agreement needs at least one")
    return [x for x, _ in kept], [y for _, y in kept]


def _missing(label: Hashable) -> bool:
    return label is None or label != label  # NaN is the only value unlike itself
