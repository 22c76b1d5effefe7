"""Win rates from one answer a system and prompt: by each judge, with intervals, tests and lengths.

In: a scoreboard. Out: rows such as `single_draws` in results.json. Where a run has several
candidates, `all_pairs` averages over them and is what the study reports; one draw is its check, and
all that there is for answers that others scored. A tie is half a win; equal texts tie; a prompt
without both scores is left out and counted in `missing`. The interval (`ci_low`, `ci_high`) is
`intervals.score_interval`, the only one that keeps its coverage with ties and near one; Wilson's
(of wins + ties / 2) and the bootstrap's stand beside it.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from lib.analysis.comparisons.all_pairs import with_holm
from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.statistics.bootstrap import bootstrap_intervals
from lib.analysis.statistics.bradley_terry import ELO_PER_NAT, Ratings, fit_ratings
from lib.analysis.statistics.intervals import score_interval, wilson_interval
from lib.analysis.statistics.length_control import length_controlled_win_rate
from lib.analysis.statistics.outcomes import Floats
from lib.analysis.statistics.significance import share_test, sign_test
from lib.runtime.files import Row

Pair = tuple[str, str]
UNKNOWN = ("win_rate", "ci_low", "ci_high", "wilson_low", "wilson_high", "p_value",
           "smallest_effect", "equivalent_within")  # null where no prompt has both scores
CONTROLLED = ("length_controlled", "length_controlled_low", "length_controlled_high",
              "length_coefficient", "length_extreme", "length_penalty")


def round_robin(board: Scoreboard, pairs: Iterable[Pair] | None = None, *, resamples: int = 10_000,
                seed: int = 0) -> list[Row]:
    """Win-rate rows of all pairs of systems by all judges, Holm-corrected within each judge.

    pairs: (a, b) in the order of the rows; None takes all pairs, `a` the later system of the board.
    The bootstrap draws the same prompts for all comparisons.
    """
    pairs, rows = _pairs(board, pairs), []
    for judge in board.judges:
        rows += with_holm(_rows(board, judge, pairs, resamples, seed))
    return rows


def rate_systems(board: Scoreboard, judge: str, *, resamples: int = 1000,
                 seed: int = 0) -> Ratings:
    """Bradley-Terry ratings of all systems from their full round robin by one judge."""
    columns = list(combinations(range(len(board.systems)), 2))
    outcomes = _outcomes(board, judge, combinations(board.systems, 2))
    return fit_ratings(board.systems, columns, outcomes, resamples, seed)


def ratings_rows(ratings: Ratings, judge: str) -> list[Row]:
    """Ratings as rows of results.json, best first; `prior` > 0: some system never lost."""
    rows = [{"system": name, "judge": judge, "strength": strength, "ci_low": low, "ci_high": high,
             "elo": elo, "elo_low": low * ELO_PER_NAT, "elo_high": high * ELO_PER_NAT,
             "prior": ratings.prior, "misfit": ratings.misfit}
            for name, strength, low, high, elo in zip(
                ratings.systems, ratings.strengths, ratings.low, ratings.high, ratings.elo,
                strict=True)]
    return sorted(rows, key=lambda row: -row["strength"])


def _pairs(board: Scoreboard, pairs: Iterable[Pair] | None) -> list[Pair]:
    """The given pairs, or all with the later system first."""
    if pairs is None:
        return [(b, a) for a, b in combinations(board.systems, 2)]
    return list(pairs)


def _outcomes(board: Scoreboard, judge: str, pairs: Iterable[Pair]) -> Floats:
    """Outcomes of each pair, [prompts, pairs]: 1, 0.5, 0 or NaN."""
    return np.stack([board.outcomes(judge, a, b) for a, b in pairs], axis=1)


def _rows(board: Scoreboard, judge: str, pairs: Sequence[Pair], resamples: int,
          seed: int) -> list[Row]:
    outcomes = _outcomes(board, judge, pairs)
    asked = ~np.isnan(outcomes).all(axis=0)  # pairs that some prompt decides
    low, high = np.full((2, len(pairs)), None)
    if asked.any():
        low[asked], high[asked] = bootstrap_intervals(outcomes[:, asked], resamples, seed)
    return [{"a": a, "b": b, "judge": judge, "seed": seed}
            | _counts(outcomes[board.both_asked(a, b), column])
            | {"bootstrap_low": low[column], "bootstrap_high": high[column]}
            | _lengths(board, board.place(a), board.place(b), outcomes[:, column])
            for column, (a, b) in enumerate(pairs)]


def _counts(outcomes: Floats) -> Row:
    """Counts, win rate, intervals, sign test and what this many prompts can tell; None for none."""
    wins, ties, losses = (int(np.sum(outcomes == value)) for value in (1.0, 0.5, 0.0))
    n = wins + ties + losses
    if n == 0:
        return dict.fromkeys(UNKNOWN) | {"n": 0, "missing": len(outcomes), "wins": 0, "ties": 0,
                                         "losses": 0}
    rate, ends = (wins + ties / 2) / n, score_interval(wins, ties, losses)
    wilson, able = wilson_interval(wins + ties / 2, n), share_test(outcomes[~np.isnan(outcomes)])
    return {"n": n, "missing": len(outcomes) - n, "wins": wins, "ties": ties, "losses": losses,
            "win_rate": rate, "ci_low": float(ends[0]), "ci_high": float(ends[1]),
            "wilson_low": wilson.low, "wilson_high": wilson.high,
            "p_value": sign_test(wins, losses), "smallest_effect": able.smallest_effect,
            "equivalent_within": able.equivalent_within}


def _lengths(board: Scoreboard, i: int, j: int, outcomes: Floats) -> Row:
    """Mean lengths and the length-controlled win rate, None without an outcome."""
    means = {"mean_tokens_a": _mean(board.tokens[i]), "mean_tokens_b": _mean(board.tokens[j])}
    if np.isnan(outcomes).all():
        return dict.fromkeys(CONTROLLED) | means
    found = length_controlled_win_rate(outcomes, board.characters[i], board.characters[j])
    return dict(zip(CONTROLLED, (found.win_rate, found.low, found.high, found.length_coefficient,
                                 found.extreme, found.penalty), strict=True)) | means


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))
