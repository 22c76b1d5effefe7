"""The Bradley-Terry model on features: P(a beats b) = sigmoid(w . (x_a - x_b)).

Pure functions on arrays: the loss with ridge and score margin, its minimum by L-BFGS, and
cross-validation over groups (prompts), never over pairs: pairs of one prompt share answers.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

RIDGES = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 10.0)


def bradley_terry_loss(weights: np.ndarray, differences: np.ndarray, ridge: float,
                       margins: np.ndarray, importance: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted mean of -log sigmoid(w . d - margin) plus ridge / 2 * |w|^2, and its gradient.

    differences: [pairs, width], better minus worse; margins, importance: [pairs]. The margin is
    Llama 2's (Touvron et al. 2023, eq. 2).
    """
    advantage = differences @ weights - margins  # [pairs]
    share = importance / importance.sum()
    loss = share @ np.logaddexp(0.0, -advantage) + ridge / 2 * weights @ weights
    return float(loss), ridge * weights - differences.T @ (share * expit(-advantage))


def fit_weights(differences: np.ndarray, ridge: float, margins: np.ndarray,
                importance: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The minimum of `bradley_terry_loss`, [width]. Raises ValueError when there are no pairs."""
    if not len(differences):
        raise ValueError("there are 0 pairs to fit on; give answers with different scores")
    start = np.zeros(differences.shape[1]) if start is None else start
    result = minimize(bradley_terry_loss, start, (differences, ridge, margins, importance),
                      method="L-BFGS-B", jac=True, options={"maxiter": 500})
    return result.x


def group_folds(groups: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """Masks of the entries to test on, one a fold; a group is never split, sizes differ by one."""
    unique = np.random.default_rng(seed).permutation(np.unique(groups))
    if not 2 <= folds <= len(unique):
        raise ValueError(f"folds is {folds} with {len(unique)} prompts; use 2 to {len(unique)}")
    return [np.isin(groups, unique[fold::folds]) for fold in range(folds)]


def cross_validated(differences: np.ndarray, groups: np.ndarray, ridges: Sequence[float],
                    margins: np.ndarray, importance: np.ndarray, folds: int,
                    seed: int) -> dict[float, np.ndarray]:
    """Advantage of the better answer by heads that never saw its prompt: {ridge: [pairs]}.

    Fits go from the strongest ridge to the weakest, each from the last one's minimum.
    """
    held_out = {ridge: np.zeros(len(differences)) for ridge in ridges}
    for test in group_folds(groups, folds, seed):
        weights = None
        for ridge in sorted(ridges, reverse=True):
            weights = fit_weights(differences[~test], ridge, margins[~test], importance[~test],
                                  weights)
            held_out[ridge][test] = differences[test] @ weights
    return held_out
