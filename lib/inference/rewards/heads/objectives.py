"""What a head is fitted to: who wins each pair (Bradley-Terry), or by how much (least squares).

Cross-validation leaves out groups (prompts), never pairs: pairs of one prompt share answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.inference.rewards.heads import bradley_terry, least_squares

RIDGES = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 10.0)


@dataclass(frozen=True)
class Objective:
    """One way to fit weights to pairs.

    fit: (differences [pairs, width], ridge, targets [pairs], importance [pairs]) -> [width];
    loss: (predicted differences, score gaps) -> [pairs], which chooses the ridge; ties: whether
    pairs of equal scores count.
    """

    fit: Callable[[np.ndarray, float, np.ndarray, np.ndarray], np.ndarray]
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ties: bool


OBJECTIVES: Mapping[str, Objective] = {
    "bradley_terry": Objective(bradley_terry.fit_weights,
                               lambda predicted, _: np.logaddexp(0, -predicted), ties=False),
    "least_squares": Objective(least_squares.fit_weights,
                               lambda predicted, gaps: (predicted - gaps) ** 2 / 2, ties=True)}


def group_folds(groups: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """Masks of the entries to test on, one a fold; a group is never split, sizes differ by one."""
    unique = np.random.default_rng(seed).permutation(np.unique(groups))
    if not 2 <= folds <= len(unique):
        raise ValueError(f"folds is {folds} with {len(unique)} prompts; use 2 to {len(unique)}")
    return [np.isin(groups, unique[fold::folds]) for fold in range(folds)]


def cross_validated(objective: Objective, differences: np.ndarray, groups: np.ndarray,
                    ridges: Sequence[float], targets: np.ndarray, folds: int,
                    seed: int) -> dict[float, np.ndarray]:
    """Predicted differences by weights that never saw the pair's prompt: {ridge: [pairs]}."""
    held_out = {ridge: np.zeros(len(differences)) for ridge in ridges}
    for test in group_folds(groups, folds, seed):
        for ridge in ridges:
            weights = objective.fit(differences[~test], ridge, targets[~test],
                                    np.ones(int((~test).sum())))
            held_out[ridge][test] = differences[test] @ weights
    return held_out
