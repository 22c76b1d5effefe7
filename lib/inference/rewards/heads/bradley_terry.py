"""The Bradley-Terry model on features: P(a beats b) = sigmoid(w . (x_a - x_b)).

Pure functions on arrays: the loss with ridge and score margin, and its minimum by L-BFGS.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit


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
                importance: np.ndarray) -> np.ndarray:
    """The minimum of `bradley_terry_loss`, [width]. Raises ValueError when there are no pairs."""
    if not len(differences):
        raise ValueError("there are 0 pairs to fit on; give answers with different scores")
    start = np.zeros(differences.shape[1])
    result = minimize(bradley_terry_loss, start, (differences, ridge, margins, importance),
                      method="L-BFGS-B", jac=True, options={"maxiter": 500})
    return result.x
