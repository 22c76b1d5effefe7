"""Who wins on average over every answer that two systems might have given: the study's estimator.

A run samples several candidates a prompt, so a comparison need not rest on one draw. The win rate
of a over b on a prompt is sum_kl W_kl outcome(a_k, b_l): over all pairs of candidates, each as
probable as it is that a answers with k and b with l. A single answer is any candidate with equal
probability; the best of n is `pick_probabilities`. Within one pool the opponent is left out of the
draw: the best of n among the others. The rate is the mean over prompts, and prompts are the sample.

A candidate without a score that its system's pick or the judge needs is left out of the draw, as if
it had not been sampled, and counted in `left_out`; a prompt with too few others is `missing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lib.analysis.comparisons.scoreboard import outcome
from lib.analysis.statistics.bradley_terry import Ratings, fit_ratings
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.statistics.significance import holm, mean_test, share_test
from lib.inference.best_of_n import pick_probabilities
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

Pair = tuple[str, str]
Pools = Mapping[tuple[str, float], Sequence[Row]]  # (policy, temperature) -> rows with candidates
SELECTOR = "selector"  # the role that picks; it judges too, and within its own pool in vain
UNTESTED = ("p_value", "smallest_effect", "equivalent_within", "length_controlled",
            "length_controlled_low", "length_controlled_high", "length_coefficient",
            "length_extreme", "length_penalty")  # null where counting alone gives the rate


@dataclass(frozen=True)
class Candidates:
    """One pool as arrays [prompts, K]: scores by judge (NaN: missing), stripped texts, lengths."""

    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    scores: Mapping[str, Floats]
    texts: NDArray[np.object_]
    tokens: Floats
    characters: Floats

    def of(self, prompts: Sequence[str]) -> "Candidates":
        """The candidates of these prompts, in this order."""
        row = {prompt: place for place, prompt in enumerate(self.prompts)}
        places = [row[prompt] for prompt in prompts]
        return Candidates(
            tuple(prompts), tuple(self.sources[place] for place in places),
            {judge: scores[places] for judge, scores in self.scores.items()},
            *(part[places] for part in (self.texts, self.tokens, self.characters)))


@dataclass(frozen=True)
class Matches:
    """Every pair of candidates of a and b on the prompts that both answered, by one judge.

    weights [prompts, K, L]: the probability of each pair, NaN where the prompt is left out;
    outcomes [prompts, K, L] of candidate k of a against l of b. left_out: candidates without a
    score. by_construction: the judge picked among these very candidates, so counting alone decides.
    """

    a: Candidates
    b: Candidates
    weights: Floats
    outcomes: Floats
    left_out: int
    by_construction: bool

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
    """All pools of a run; a system without a temperature reads its policy's pool at `main`."""

    pools: Mapping[tuple[str, float], Candidates]
    judges: tuple[str, ...]
    main: float

    def matches(self, judge: str, a: str, b: str) -> Matches:
        """The pairs of a's and b's candidates by a judge.

        Raises ValueError for a system without a pool, for two systems whose comparison within one
        pool is even by construction, and where no prompt has the scores.
        """
        systems = [System.parse(name) for name in (a, b)]
        keys = [self._pool_of(system) for system in systems]
        pools = self._on_common_prompts(*keys)
        proxies = [_proxy(system, pool, judge) for system, pool in zip(systems, pools, strict=True)]
        weights = _own_pool_weights(*proxies, *systems) if keys[0] == keys[1] else \
            _picks(proxies[0], systems[0])[:, :, None] * _picks(proxies[1], systems[1])[:, None]
        if np.isnan(weights).any((1, 2)).all():
            raise ValueError(f"{judge} can compare {a} and {b} on no prompt; sample and score more "
                             "candidates")
        first, second = pools
        found = outcome(*np.broadcast_arrays(first.scores[judge][:, :, None],
                                             second.scores[judge][:, None]),
                        first.texts[:, :, None] == second.texts[:, None])
        return Matches(first, second, weights, found, sum(map(_unscored, pools, proxies)),
                       judge == SELECTOR and keys[0] == keys[1])

    def _pool_of(self, system: System) -> tuple[str, float]:
        key = system.policy, self.main if system.temperature is None else system.temperature
        if key not in self.pools:
            raise ValueError(f"{system.name} has no candidates; there are pools of "
                             f"{', '.join(f'{policy}@{heat:g}' for policy, heat in self.pools)}")
        return key

    def _on_common_prompts(self, *keys: tuple[str, float]) -> list[Candidates]:
        first, *others = (self.pools[key] for key in keys)
        shared = set(first.prompts).intersection(*(pool.prompts for pool in others))
        kept = [prompt for prompt in first.prompts if prompt in shared]
        return [self.pools[key].of(kept) for key in keys]


def candidate_board(pools: Pools, judges: Sequence[str], main: float) -> CandidateBoard:
    """The pools as arrays; judges: the scores to read. main: temperature of plain policies."""
    return CandidateBoard({key: _candidates(rows, judges) for key, rows in pools.items()},
                          tuple(judges), main)


def win_rates(board: CandidateBoard, pairs: Iterable[Pair]) -> list[Row]:
    """Win-rate rows of the pairs by every judge of the board, Holm-corrected within each judge.

    {"a", "b", "judge", "n" prompts, "missing" prompts, "left_out" candidates, "candidates_a",
    "candidates_b", "win_rate", "ci_low", "ci_high", "wins", "ties", "losses" (shares), "p_value",
    "holm_p", "smallest_effect", "equivalent_within" (see `share_test`), lengths and the
    length-controlled rate}. What holds by construction has no test and is not in Holm's family.
    """
    pairs, rows = list(pairs), []
    for judge in board.judges:
        rows += with_holm([{"a": a, "b": b, "judge": judge} | _row(board.matches(judge, a, b))
                           for a, b in pairs])
    return rows


def win_rate_matrix(board: CandidateBoard, systems: Sequence[str]) -> list[Row]:
    """Rates and intervals of every two systems by every judge, the later over the earlier one."""
    return [{"a": a, "b": b, "judge": judge} | _rate(board.matches(judge, a, b))
            for judge in board.judges for b, a in combinations(systems, 2)]


def rate_systems(board: CandidateBoard, systems: Sequence[str], judge: str,
                 seed: int = 0) -> Ratings:
    """Bradley-Terry ratings of the systems from every comparison of two of them by one judge."""
    pairs = list(combinations(range(len(systems)), 2))
    prompts = max((pool.prompts for pool in board.pools.values()), key=len)
    row = {prompt: place for place, prompt in enumerate(prompts)}
    outcomes = np.full((len(prompts), len(pairs)), np.nan)
    for column, (i, j) in enumerate(pairs):
        matches = board.matches(judge, systems[i], systems[j])
        outcomes[[row[prompt] for prompt in matches.a.prompts], column] = matches.values
    return fit_ratings(systems, pairs, outcomes, seed=seed)


def win_rates_by_source(board: CandidateBoard, pairs: Iterable[Pair]) -> list[Row]:
    """Rate of each pair by each judge within each source of prompts, with n and interval."""
    rows, pairs = [], list(pairs)
    for judge in board.judges:
        for a, b in pairs:
            matches = board.matches(judge, a, b)
            values, sources = matches.values, np.array(matches.a.sources)
            rows += [{"a": a, "b": b, "judge": judge, "source": source}
                     | _interval(values[sources == source], matches.by_construction)
                     for source in dict.fromkeys(matches.a.sources)
                     if not np.isnan(values[sources == source]).all()]
    return rows


def contrasts(board: CandidateBoard, triples: Iterable[tuple[str, str, str]]) -> list[Row]:
    """Does the first system win more often than the second against one opponent? By every judge.

    The difference of the two rates, prompt by prompt: {"first", "second", "opponent", "judge", "n",
    "difference", "ci_low", "ci_high", "p_value", "smallest_effect", "equivalent_within", "holm_p"},
    Holm's over the triples of a judge.
    """
    triples, rows = list(triples), []
    for judge in board.judges:
        rows += with_holm([
            {"first": first, "second": second, "opponent": opponent, "judge": judge}
            | _difference(*(board.matches(judge, one, opponent) for one in (first, second)))
            for first, second, opponent in triples])
    return rows


def with_holm(family: Sequence[Row]) -> list[Row]:
    """The rows with `holm_p`, corrected over all of them that have a p-value."""
    adjusted = iter(holm([row["p_value"] for row in family if row["p_value"] is not None]))
    return [row | {"holm_p": None if row["p_value"] is None else next(adjusted)}
            for row in family]


def _difference(first: Matches, second: Matches) -> Row:
    """Rates on the prompts that both comparisons have, paired."""
    other = dict(zip(second.a.prompts, second.values, strict=True))
    values = first.values - [other.get(prompt, np.nan) for prompt in first.a.prompts]
    values = values[~np.isnan(values)]
    found = mean_test(values)
    return {"n": len(values), "difference": float(values.mean())} | found._asdict()


def _row(matches: Matches) -> Row:
    shares = {name: matches.total(matches.outcomes == value)
              for name, value in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))}
    return _rate(matches) | {name: float(np.nanmean(share)) for name, share in shares.items()} \
        | {"by_construction": matches.by_construction} | _lengths(matches) \
        | (dict.fromkeys(UNTESTED) if matches.by_construction else _tested(matches))


def _tested(matches: Matches) -> Row:
    """The test of one half and the length-controlled rate, on lengths weighted by the pairs."""
    values = matches.values
    found = share_test(values[~np.isnan(values)])
    characters = (matches.total(part) for part in matches.of_pairs("characters"))
    controlled = length_controlled_win_rate(values, *characters)
    return dict(zip(UNTESTED, (
        found.p_value, found.smallest_effect, found.equivalent_within, controlled.win_rate,
        controlled.low, controlled.high, controlled.length_coefficient, controlled.extreme,
        controlled.penalty), strict=True))


def _rate(matches: Matches) -> Row:
    return _interval(matches.values, matches.by_construction) | {
        "left_out": matches.left_out,
        "candidates_a": matches.weights.shape[1], "candidates_b": matches.weights.shape[2]}


def _interval(values: Floats, by_construction: bool) -> Row:
    """n, missing, the rate and its interval; a number that counting alone gives has none."""
    kept = values[~np.isnan(values)]
    rate = float(kept.mean())
    constant = by_construction and np.ptp(kept) < 1e-9
    low, high = (None, None) if constant else clustered_share_interval(kept)
    return {"n": len(kept), "missing": len(values) - len(kept), "win_rate": rate, "ci_low": low,
            "ci_high": high}


def _lengths(matches: Matches) -> Row:
    return {f"mean_tokens_{side}": _mean(matches.total(part))
            for side, part in zip("ab", matches.of_pairs("tokens"), strict=True)}


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _proxy(system: System, pool: Candidates, judge: str) -> Floats:
    """What the system picks by, [prompts, K]: the selector's score, or 0 for any candidate alike.

    NaN for a candidate without a score of the judge, or of the selector where that picks.
    """
    proxy = pool.scores[SELECTOR] if system.rule == BEST else np.zeros_like(pool.scores[judge])
    return np.where(np.isnan(pool.scores[judge]), np.nan, proxy)


def _picks(proxy: Floats, system: System) -> Floats:
    """Probability of each candidate to be the system's answer, [..., K]."""
    return pick_probabilities(proxy, system.n if system.rule == BEST else 1)


def _own_pool_weights(first: Floats, second: Floats, a: System, b: System) -> Floats:
    """Weights where both systems answer from one pool: b's answer is left out of a's draw."""
    if b.rule == BEST != a.rule:
        return _own_pool_weights(second, first, b, a).swapaxes(1, 2)
    if b.rule == BEST or a.rule != BEST:
        raise ValueError(f"{a.name} and {b.name} draw from one pool alike, so neither can win")
    others = ~np.eye(first.shape[-1], dtype=bool)  # [L, K]
    picks = _picks(np.where(others, first[:, None], np.nan), a)  # [prompts, L, K]
    return picks.swapaxes(1, 2) * _picks(second, b)[:, None]


def _unscored(pool: Candidates, proxy: Floats) -> int:
    """Candidates of a pool that a missing score keeps out of the draw."""
    return int(np.sum(np.isnan(proxy) & (pool.texts != None)))  # noqa: E711 - elementwise


def _candidates(rows: Sequence[Row], judges: Sequence[str]) -> Candidates:
    size = max(len(row["candidates"]) for row in rows)
    padded = [[*row["candidates"], *[{}] * (size - len(row["candidates"]))] for row in rows]

    def floats(read: object) -> Floats:
        return np.array([[np.nan if (value := read(one)) is None else value for one in line]
                         for line in padded], dtype=float)

    texts = [[one["text"].strip() if one else None for one in line] for line in padded]
    return Candidates(
        tuple(row["id"] for row in rows), tuple(row.get("source", "") for row in rows),
        {judge: floats(lambda one, judge=judge: one.get("rewards", {}).get(judge))
         for judge in dict.fromkeys([*judges, SELECTOR])},
        np.array(texts, dtype=object), floats(lambda one: one.get("tokens")),
        floats(lambda one: len(one["text"]) if one else None))
