"""How far two judges agree beyond chance, on any labels (a win, a tie, a class).

Labels that are None or NaN in either list are left out of both.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import cohen_kappa_score


@dataclass(frozen=True)
class Agreement:
    """Raw agreement, Cohen's kappa and Gwet's AC1 of two judges on n items; `missing` had no label.

    kappa is NaN when both judges give one and the same label throughout. It falls when one label
    dominates (a win rate of .93), which AC1 does not: quote both.
    """

    agreement: float
    kappa: float
    ac1: float
    n: int
    missing: int


def agreement(a: Sequence[Hashable], b: Sequence[Hashable]) -> Agreement:
    """Raw agreement, kappa and AC1 at once; raises ValueError when no item has both labels."""
    left, right = _labelled(a, b)
    same = float(np.mean([x == y for x, y in zip(left, right, strict=True)]))
    return Agreement(same, cohen_kappa(left, right), gwet_ac1(left, right), len(left),
                     len(a) - len(left))


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """(agreement - chance) / (1 - chance), with chance from both judges' marginals (Cohen 1960)."""
    left, right = _labelled(a, b)
    if len(set(left) | set(right)) == 1:
        return float("nan")  # chance agreement is 1: the ratio is 0 / 0
    codes = _codes(left + right)
    return float(cohen_kappa_score(codes[:len(left)], codes[len(left):]))


def gwet_ac1(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Gwet's (2008) AC1: chance = sum of p (1 - p) over labels, divided by labels - 1."""
    left, right = _labelled(a, b)
    codes = _codes(left + right)
    same = float(np.mean(codes[:len(left)] == codes[len(left):]))
    share = np.bincount(codes) / len(codes)
    chance = float(np.sum(share * (1 - share)) / max(len(share) - 1, 1))
    return (same - chance) / (1 - chance)


def _codes(labels: list[Hashable]) -> np.ndarray:
    """Labels of any kind as whole numbers."""
    number = {label: position for position, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels])


def _labelled(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[list, list]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} labels against {len(b)}; both judges must label the same items")
    kept = [(x, y) for x, y in zip(a, b, strict=True) if not (_missing(x) or _missing(y))]
    if not kept:
        raise ValueError("no item has a label from both judges; agreement needs at least one")
    return [x for x, _ in kept], [y for _, y in kept]


def _missing(label: Hashable) -> bool:
    return label is None or label != label  # NaN is the only value unlike itself
