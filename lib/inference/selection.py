"""How a system picks one of n candidates, as each candidate's chance, and every draw of n.

Best-of-N, soft Best-of-N (Verdun et al. 2025), MBR- and KL-regularised Best-of-N (Jinnai et al.
2024), each by the formula of `lib.inference.best_of_n`. Scores are standardised over the n
candidates, for a system of four answers knows no other, so a coefficient has one unit for every
prompt. The KL term reads log pi(y|x) of the policy that answered, at temperature 1, which each
candidate of a pool has.

A pool of K candidates holds many draws of n. A rule that sorts by one score has a closed form over
all of them (`pick_probabilities`); these rules have none, because scores are standardised, and
likeness is measured, within a draw. `draws_of` lists all draws up to `MOST_DRAWS`, which is exact;
of more it takes so many at random, by a seed.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from lib.inference.best_of_n import generator_of, soft_best_of_n
from lib.inference.systems import BEST, KL, SOFT, System

Floats = NDArray[np.float64]
ROUNDING = 1e-12  # scores that differ by less are one
MOST_DRAWS = 5_000  # all draws of 4 of 16 are 1,820


@dataclass(frozen=True)
class Offer:
    """Candidates of one prompt: the selector's scores [K], log pi(y|x) [K], similarity [K, K].

    A missing value is NaN.
    """

    scores: Floats
    logps: Floats
    similarity: Floats

    def usable(self, system: System) -> NDArray[np.intp]:
        """Places of the candidates that have all that the system's rule reads."""
        missing = np.isnan(self.scores) if system.selects else np.full(len(self.scores), False)
        return np.flatnonzero(~missing & ~(np.isnan(self.logps) & (system.rule == KL)))


def chances(system: System, offer: Offer, draws: NDArray[np.intp]) -> Floats:
    """Each candidate's probability to be the system's pick from each draw; both [draws, n].

    draws: places of usable candidates. Equal candidates share what falls to them together.
    """
    if not system.selects:
        return np.full(draws.shape, 1 / draws.shape[-1])
    scores = offer.scores[draws]
    if system.rule == BEST:
        return _shared(scores == scores.max(-1, keepdims=True))
    assert system.coefficient is not None  # as every other rule has one
    scores = _standardised(scores)
    if system.rule == SOFT:
        return soft_best_of_n(scores, system.coefficient)
    regularised = scores + system.coefficient * _regulariser(system, offer, draws)
    return _shared(regularised >= regularised.max(-1, keepdims=True) - ROUNDING)


def _regulariser(system: System, offer: Offer, draws: NDArray[np.intp]) -> Floats:
    """Log-probabilities, or mean likeness to all of a draw, [draws, n]."""
    if system.rule == KL:
        return offer.logps[draws]
    return offer.similarity[draws[:, :, None], draws[:, None]].mean(-1)  # of [draws, n, n]


def _shared(highest: NDArray[np.bool_]) -> Floats:
    return highest / highest.sum(-1, keepdims=True)


def pick(system: System, offer: Offer, prompt_id: str, seed: int) -> int | None:
    """The place with which a system answers; None where no candidate has what its rule reads.

    The lowest of equals. Soft Best-of-N draws, always alike for one prompt and seed.
    """
    usable = offer.usable(system)
    if not len(usable):
        return None
    probabilities = chances(system, offer, usable[None])[0]
    if system.rule == SOFT:
        return int(generator_of(prompt_id, seed).choice(usable, p=probabilities))
    return int(usable[probabilities.argmax()])


@lru_cache(maxsize=8)
def draws_of(count: int, n: int) -> NDArray[np.intp]:
    """Draws of n of `count` candidates, [draws, n]: all of them, or `MOST_DRAWS` at random.

    Of `MOST_DRAWS` the standard error of a probability is at most .5 / sqrt(draws), .007, on one
    prompt. There are none where count is below n.
    """
    if comb(count, n) <= MOST_DRAWS:
        return np.array(list(combinations(range(count), n)), dtype=np.intp).reshape(-1, n)
    random = np.random.default_rng([count, n])
    return np.sort(random.random((MOST_DRAWS, count)).argpartition(n - 1, axis=1)[:, :n], axis=1)


def _standardised(scores: Floats) -> Floats:
    """Scores less their mean, in their standard deviation, on the last axis; flat ones are 0."""
    centred = scores - scores.mean(-1, keepdims=True)
    spread = scores.std(-1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred),
                     where=spread > ROUNDING * np.abs(scores).max(-1, keepdims=True))
