"""How far two readers agree on the answers that both scored.

In: two scores of each answer and its prompt. Agreement within a prompt is what comparisons rest on;
agreement over all answers also has what makes a prompt easy. Intervals leave out one prompt after
another (the jackknife), because answers to one prompt are read side by side.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t
from sklearn.metrics import cohen_kappa_score

from lib.analysis.statistics.clusters import clustered_mean_interval, clustered_share_interval
from lib.analysis.statistics.outcomes import Floats
from lib.runtime.files import Row

SCALE = np.arange(1, 10.5, 0.5)  # scores that a reader may give


def reliability(first: ArrayLike, second: ArrayLike, prompts: ArrayLike) -> Row:
    """Agreement of two readers' scores [answers] on a 1-10 scale in halves; prompts: [answers].

    {"n", "prompts"}, each of "pearson", "within" (correlation of what lies above or below the
    prompt's mean) and "kappa" (linear weights) with `_low` and `_high`, "difference" (second -
    first, mean) with its interval, "pairs" (of one prompt that both readers order) and "same_order"
    (the share that both order alike) with its interval. What does not vary is None. Raises
    ValueError without an answer.
    """
    scores, places = np.array([first, second], dtype=float), np.unique(
        np.asarray(prompts), return_inverse=True)[1]
    if not scores.size:
        raise ValueError("no answer was scored by both readers; let a second one read some")
    row: Row = {"n": scores.shape[1], "prompts": int(places.max()) + 1}
    for name, statistic in (("pearson", _pearson), ("within", _within), ("kappa", _kappa)):
        row |= _named(name, *_jackknife(statistic, scores, places))
    gaps = scores[1] - scores[0]
    row |= _named("difference", gaps.mean(), *clustered_mean_interval(gaps, places))
    alike, clusters = _orders(scores, places)
    ends = clustered_share_interval(alike, clusters) if len(alike) else (np.nan, np.nan)
    return row | {"pairs": len(alike)} | _named(
        "same_order", alike.mean() if len(alike) else np.nan, *ends)


def _pearson(scores: Floats, places: np.ndarray) -> float:
    return _correlation(*(scores - scores.mean(axis=1, keepdims=True)))


def _within(scores: Floats, places: np.ndarray) -> float:
    sizes = np.maximum(np.bincount(places), 1)
    return _correlation(*(line - (np.bincount(places, line) / sizes)[places] for line in scores))


def _kappa(scores: Floats, places: np.ndarray) -> float:
    """Cohen's kappa with linear weights over the whole scale, whether its steps occur or not."""
    one, other = np.searchsorted(SCALE, scores)
    if len(np.unique(scores)) == 1:
        return np.nan
    return float(cohen_kappa_score(one, other, labels=np.arange(len(SCALE)), weights="linear"))


def _correlation(one: Floats, other: Floats) -> float:
    scale = np.sqrt(one @ one * (other @ other))
    return float(np.clip(one @ other / scale, -1, 1)) if scale > 1e-12 else np.nan


def _jackknife(statistic: Callable[[Floats, np.ndarray], float], scores: Floats,
               places: np.ndarray) -> tuple[float, float, float]:
    """A statistic of -1 to 1 with its 95 % interval on Fisher's scale, a t of the prompts."""
    found, number = statistic(scores, places), int(places.max()) + 1
    if number < 2 or np.isnan(found) or abs(found) == 1:
        return found, found, found
    kept = np.array([statistic(scores[:, places != one], places[places != one])
                     for one in range(number)])
    spread = np.arctanh(np.clip(kept[~np.isnan(kept)], -1 + 1e-9, 1 - 1e-9))
    error = np.sqrt((len(spread) - 1) / len(spread) * np.sum((spread - spread.mean()) ** 2))
    reach = t.ppf(0.975, number - 1) * error
    return found, *np.tanh(np.arctanh(found) + np.array([-reach, reach]))


def _orders(scores: Floats, places: np.ndarray) -> tuple[Floats, Floats]:
    """For each pair of one prompt that both readers order: 1 if alike, and its prompt."""
    alike, clusters = [], []
    for place in np.unique(places):
        for one, other in combinations(np.flatnonzero(places == place), 2):
            signs = np.sign(scores[:, one] - scores[:, other])
            if signs.all():
                alike.append(float(signs[0] == signs[1]))
                clusters.append(place)
    return np.array(alike), np.array(clusters)


def _named(name: str, value: float, low: float, high: float) -> Row:
    return {key: None if np.isnan(number) else float(number) for key, number in
            zip((name, f"{name}_low", f"{name}_high"), (value, low, high), strict=True)}
