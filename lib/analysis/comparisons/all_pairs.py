"""Who wins on average over every answer that two systems might have given: the study's estimator.

A run samples several candidates a prompt, so a comparison need not rest on one draw. The win rate
of a over b on a prompt is sum_kl W_kl outcome(a_k, b_l), over all pairs of candidates with the
weights of `lib.analysis.comparisons.candidates`. The rate is the mean over prompts, and prompts are
the sample; one with too few scored candidates is `missing`.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from lib.analysis.comparisons.candidates import CandidateBoard, Matches
from lib.analysis.statistics.bradley_terry import Ratings, fit_ratings
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.statistics.significance import MeanTest, holm, mean_test, share_test
from lib.runtime.files import Row

Pair = tuple[str, str]
UNTESTED = ("p_value", "smallest_effect", "equivalent_within", "length_controlled",
            "length_controlled_low", "length_controlled_high", "length_coefficient",
            "length_extreme", "length_penalty")  # null where counting alone gives the rate,
# and where no prompt does


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
    found = mean_test(values)._asdict() if len(values) else dict.fromkeys(MeanTest._fields)
    return {"n": len(values), "difference": _mean(values)} | found


def _row(matches: Matches) -> Row:
    shares = {name: matches.total(matches.outcomes == value)
              for name, value in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))}
    untested = matches.by_construction or np.isnan(matches.values).all()
    return _rate(matches) | {name: _mean(share) for name, share in shares.items()} \
        | {"by_construction": matches.by_construction} | _lengths(matches) \
        | (dict.fromkeys(UNTESTED) if untested else _tested(matches))


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
    """n, missing, the rate and its interval; a number that counting alone gives has none.

    Without a prompt the rate is None too.
    """
    kept = values[~np.isnan(values)]
    constant = not len(kept) or (by_construction and np.ptp(kept) < 1e-9)
    low, high = (None, None) if constant else clustered_share_interval(kept)
    return {"n": len(kept), "missing": len(values) - len(kept), "win_rate": _mean(kept),
            "ci_low": low, "ci_high": high}


def _lengths(matches: Matches) -> Row:
    return {f"mean_tokens_{side}": _mean(matches.total(part))
            for side, part in zip("ab", matches.of_pairs("tokens"), strict=True)}


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))
