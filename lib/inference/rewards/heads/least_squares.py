"""Score differences by least squares: w . (x_a - x_b) estimates score_a - score_b.

Ties count, which the Bradley-Terry model leaves out. Over all pairs of a prompt's answers the fit
is that of scores centred within the prompt (fixed effects), and so maximises what a judge is for:
the correlation with the reader within prompts.
"""

import numpy as np
from scipy.linalg import solve


def fit_weights(differences: np.ndarray, ridge: float, gaps: np.ndarray,
                importance: np.ndarray) -> np.ndarray:
    """The minimum of the weighted mean of (w . d - gap)^2 / 2 plus ridge / 2 * |w|^2, [width].

    differences: [pairs, width]; gaps, importance: [pairs]. Raises ValueError without any pair.
    """
    if not len(differences):
        raise ValueError("there are 0 pairs to fit on; give prompts with two answers or more")
    weighted = differences * (importance / importance.sum())[:, None]
    curvature = weighted.T @ differences + ridge * np.eye(differences.shape[1])
    return solve(curvature, weighted.T @ gaps, assume_a="pos")
