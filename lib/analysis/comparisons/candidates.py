"""The answers that systems might have given, and how probable each pair of them is.

A pool's candidates are arrays, [prompts, K]. A comparison of two systems is a `Matches`: the
outcome of every pair of their candidates, and its weight. A single answer is any candidate with
equal probability; the best of n is `pick_probabilities`; other rules are averaged over the draws of
`lib.inference.selection`. Within one pool the opponent is left out of the draw: the best of n among
the others. Two rules on one pool pick from the same n candidates, and tie where they pick alike.

A candidate without a score that its system's pick or the judge needs is left out of the draw, as if
it had not been sampled, and counted in `left_out`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from math import comb, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.analysis.comparisons.scoreboard import outcome
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.texts.variety import word_similarity
from lib.inference.best_of_n import pick_probabilities
from lib.inference.selection import MOST_DRAWS, Offer, chances, draws_of
from lib.inference.systems import BEST, KL, System
from lib.runtime.files import Row

Pools = Mapping[tuple[str, float], Sequence[Row]]  # (policy, temperature) -> rows with candidates
SELECTOR = "selector"  # the role that picks; it judges too, and within its own pool in vain


@dataclass(frozen=True)
class Candidates:
    """One pool as arrays [prompts, K]: scores by judge (NaN: missing), stripped texts, lengths.

    logps: log pi(y|x) of the policy that answered, in nats; None where nothing reads them.
    """

    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    scores: Mapping[str, Floats]
    texts: NDArray[np.object_]
    tokens: Floats
    characters: Floats
    logps: Floats | None = None

    def of(self, prompts: Sequence[str]) -> "Candidates":
        """The candidates of these prompts, in this order."""
        row = {prompt: place for place, prompt in enumerate(self.prompts)}
        places = [row[prompt] for prompt in prompts]
        return Candidates(
            tuple(prompts), tuple(self.sources[place] for place in places),
            {judge: scores[places] for judge, scores in self.scores.items()},
            self.texts[places], self.tokens[places], self.characters[places],
            None if self.logps is None else self.logps[places])

    def offer(self, prompt: int) -> Offer:
        """One prompt's candidates as its systems' rules read them."""
        scores = self.scores[SELECTOR][prompt]
        logps = np.full_like(scores, np.nan) if self.logps is None else self.logps[prompt]
        return Offer(scores, logps, word_similarity([text or "" for text in self.texts[prompt]]))


@dataclass(frozen=True)
class Matches:
    """Every pair of candidates of a and b on the prompts that both answered, by one judge.

    weights [prompts, K, L]: the probability of each pair, NaN where the prompt is left out;
    outcomes [prompts, K, L] of candidate k of a against l of b. left_out: candidates without a
    score. by_construction: the judge picked among these very candidates, so counting alone decides.
    draws_error: bound on the standard error of the mean of `values` from draws of n candidates that
    were taken at random; 0 where all draws count.
    """

    a: Candidates
    b: Candidates
    weights: Floats
    outcomes: Floats
    left_out: int
    by_construction: bool
    draws_error: float = 0.0

    @property
    def values(self) -> Floats:
        """The win rate on each prompt, [prompts]; NaN where it is left out."""
        return self.total(self.outcomes)

    def of_pairs(self, length: str) -> list[Floats]:
        """A length of a's and of b's candidate in each pair, two arrays [prompts, K, L]."""
        return [np.broadcast_to(part, self.weights.shape) for part in (
            getattr(self.a, length)[:, :, None], getattr(self.b, length)[:, None])]

    def total(self, values: Floats) -> Floats:
        """The weighted sum of values [prompts, K, L] on each prompt; what has no weight is void."""
        return (np.where(self.weights == 0, 0, values) * self.weights).sum((1, 2))


@dataclass(frozen=True)
class CandidateBoard:
    """All pools of a run; a system without a temperature reads its policy's pool at `main`.

    Runs that differ in it share a board without `main`, on which such pools have the key None.
    """

    pools: Mapping[tuple[str, float | None], Candidates]
    judges: tuple[str, ...]
    main: float | None

    def matches(self, judge: str, a: str, b: str) -> Matches:
        """The pairs of a's and b's candidates by a judge.

        Raises ValueError for a system without a pool or without the log-probabilities that it
        reads, for two systems whose comparison within one pool is even by construction or has no
        common draw, and where a prompt with all its scores has too few candidates.
        """
        systems = [System.parse(name) for name in (a, b)]
        keys = [self._pool_of(system) for system in systems]
        pools = self._on_common_prompts(*keys)
        proxies = [_proxy(system, pool, judge) for system, pool in zip(systems, pools, strict=True)]
        weights = _own_pool_weights(proxies[0], proxies[1], systems[0], systems[1], pools[0]) \
            if keys[0] == keys[1] else _picks(proxies[0], systems[0], pools[0])[:, :, None] \
            * _picks(proxies[1], systems[1], pools[1])[:, None]
        whole = ~np.isnan(np.hstack(proxies)).any(axis=1)
        if np.isnan(weights[whole]).any():
            raise ValueError(f"{judge} can compare {a} and {b} on no prompt; sample more "
                             "candidates")
        first, second = pools
        one, other = np.broadcast_arrays(first.scores[judge][:, :, None],
                                         second.scores[judge][:, None])
        found = outcome(one, other, first.texts[:, :, None] == second.texts[:, None])
        return Matches(first, second, weights, found, sum(map(_unscored, pools, proxies)),
                       judge == SELECTOR and keys[0] == keys[1],
                       max(starmap(_draws_error, zip(systems, proxies, strict=True))))

    def pool(self, system: System) -> Candidates:
        """The candidates that a system draws from; raises ValueError for one without a pool."""
        return self.pools[self._pool_of(system)]

    def _pool_of(self, system: System) -> tuple[str, float | None]:
        key = system.policy, self.main if system.temperature is None else system.temperature
        if key not in self.pools:
            known = (f"{policy}@{heat:g}" for policy, heat in self.pools if heat is not None)
            raise ValueError(f"{system.name} has no candidates; there are pools of "
                             f"{', '.join(known)}")
        return key

    def _on_common_prompts(self, *keys: tuple[str, float | None]) -> list[Candidates]:
        first, *others = (self.pools[key] for key in keys)
        shared = set(first.prompts).intersection(*(pool.prompts for pool in others))
        kept = [prompt for prompt in first.prompts if prompt in shared]
        return [self.pools[key].of(kept) for key in keys]


def offer_of(candidates: Sequence[Row]) -> Offer:
    """Candidates of a pool's row as systems' rules read them."""
    def floats(values: Iterable[float | None]) -> Floats:
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    return Offer(floats(one.get("rewards", {}).get(SELECTOR) for one in candidates),
                 floats(one.get("logprob") for one in candidates),
                 word_similarity([one["text"] for one in candidates]))


def candidate_board(pools: Pools, judges: Sequence[str], main: float) -> CandidateBoard:
    """The pools as arrays; judges: the scores to read. main: temperature of plain policies."""
    return CandidateBoard({key: _candidates(rows, judges) for key, rows in pools.items()},
                          tuple(judges), main)


def _proxy(system: System, pool: Candidates, judge: str) -> Floats:
    """What the system picks by, [prompts, K]: the selector's score, or 0 for any candidate alike.

    NaN for a candidate that lacks a score of the judge, or what the system's rule reads.
    """
    proxy = pool.scores[SELECTOR] if system.selects else np.zeros_like(pool.scores[judge])
    missing = np.isnan(pool.scores[judge])
    if system.rule == KL:
        if pool.logps is None or np.isnan(pool.logps).all():
            raise ValueError(f"{system.name} reads the log-probabilities of answers, and its pool "
                             "has none; sample here, or from a server that returns them")
        missing |= np.isnan(pool.logps)
    return np.where(missing, np.nan, proxy)


def _picks(proxy: Floats, system: System, pool: Candidates) -> Floats:
    """Probability of each candidate to be the system's answer, [prompts, K]."""
    if _sorts(system):
        return _sorted_picks(proxy, system)
    found = np.full_like(proxy, np.nan)
    for prompt, present in _enough(proxy, system.n):
        _, picked = _by_draw(present, proxy.shape[1], pool.offer(prompt), system)
        found[prompt] = picked.mean(0)
    return found


def _sorts(system: System) -> bool:
    """Whether its pick is a sort by one score, which has a closed form over all draws."""
    return system.rule == BEST or not system.selects


def _sorted_picks(proxy: Floats, system: System) -> Floats:
    """The same from the proxy alone, [..., K], for a system whose rule sorts by it."""
    return pick_probabilities(proxy, system.n if system.selects else 1)


def _own_pool_weights(first: Floats, second: Floats, a: System, b: System,
                      pool: Candidates) -> Floats:
    """Weights where both systems answer from one pool: a single answer of b is not in a's draw."""
    if a.selects and b.selects:
        return _same_draw_weights(first + second, a, b, pool)
    if b.selects:
        return _own_pool_weights(second, first, b, a, pool).swapaxes(1, 2)
    if not a.selects:
        raise ValueError(f"{a.name} and {b.name} draw from one pool alike, so neither can win")
    if _sorts(a):
        others = ~np.eye(first.shape[-1], dtype=bool)  # [L, K]
        picks = _sorted_picks(np.where(others, first[:, None], np.nan), a)  # [prompts, L, K]
        return picks.swapaxes(1, 2) * _sorted_picks(second, b)[:, None]
    weights = np.full((*first.shape, first.shape[1]), np.nan)
    for prompt, present in _enough(first, a.n + 1):
        drawn, picked = _by_draw(present, first.shape[1], pool.offer(prompt), a)
        without = picked.T @ ~drawn / np.maximum(1, (~drawn).sum(0))  # [K, L]
        weights[prompt] = without * _sorted_picks(second[prompt], b)
    return weights


def _same_draw_weights(proxy: Floats, a: System, b: System, pool: Candidates) -> Floats:
    """Weights of two rules that pick from the same n candidates."""
    if a == b or a.n != b.n:
        raise ValueError(f"{a.name} and {b.name} draw from one pool " + (
            "alike, so neither can win" if a == b or a.rule == b.rule == BEST else
            f"{a.n} and {b.n} candidates, which are no common draw; compare equal numbers"))
    weights = np.full((*proxy.shape, proxy.shape[1]), np.nan)
    for prompt, present in _enough(proxy, a.n):
        offer = pool.offer(prompt)
        (_, first), (_, second) = (_by_draw(present, proxy.shape[1], offer, system)
                                   for system in (a, b))
        weights[prompt] = first.T @ second / len(first)
    return weights


def _enough(proxy: Floats, least: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Prompts with at least so many usable candidates, and the places of these."""
    for prompt, values in enumerate(proxy):
        present = np.flatnonzero(~np.isnan(values))
        if len(present) >= least:
            yield prompt, present


def _by_draw(present: NDArray[np.intp], size: int, offer: Offer,
             system: System) -> tuple[NDArray[np.bool_], Floats]:
    """Who is in each draw, and each candidate's chance in it: two arrays [draws, K]."""
    draws = present[draws_of(len(present), system.n)]
    drawn, picked = np.zeros((len(draws), size), dtype=bool), np.zeros((len(draws), size))
    np.put_along_axis(drawn, draws, True, axis=1)
    np.put_along_axis(picked, draws, chances(system, offer, draws), axis=1)
    return drawn, picked


def _draws_error(system: System, proxy: Floats) -> float:
    """Bound on the standard error of a mean over prompts from random draws, 0 for all draws."""
    present = (~np.isnan(proxy)).sum(1)
    present = present[present >= system.n]
    if _sorts(system) or not len(present) or comb(int(present.max()), system.n) <= MOST_DRAWS:
        return 0.0
    return 0.5 / sqrt(MOST_DRAWS * len(present))


def _unscored(pool: Candidates, proxy: Floats) -> int:
    """Candidates of a pool that a missing score keeps out of the draw."""
    return int(np.sum(np.isnan(proxy) & (pool.texts != None)))  # noqa: E711 - elementwise


def _candidates(rows: Sequence[Row], judges: Sequence[str]) -> Candidates:
    size = max(len(row["candidates"]) for row in rows)
    padded = [[*row["candidates"], *[{}] * (size - len(row["candidates"]))] for row in rows]

    def floats(read: Callable[[Row], Any]) -> Floats:
        return np.array([[np.nan if (value := read(one)) is None else value for one in line]
                         for line in padded], dtype=float)

    def reward_by(judge: str) -> Callable[[Row], Any]:
        return lambda one: one.get("rewards", {}).get(judge)

    texts = [[one["text"].strip() if one else None for one in line] for line in padded]
    return Candidates(
        tuple(row["id"] for row in rows), tuple(row.get("source", "") for row in rows),
        {judge: floats(reward_by(judge)) for judge in dict.fromkeys([*judges, SELECTOR])},
        np.array(texts, dtype=object), floats(lambda one: one.get("tokens")),
        floats(lambda one: len(one["text"]) if one else None),
        floats(lambda one: one.get("logprob")))
