"""What a judge must share before it is no judge: pairs of judges on answers that a reader scored.

One judge picks the best of some answers, another says how often it wins. Where both see quality
alone, the other says what the reader says; what they share beyond that is flattery. In: scores of
the same answers by several judges and the reader, [prompts, answers]. Out: a row a pair.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lib.analysis.best_of_n.curves import share_row
from lib.analysis.judges.correlations import correlation_rows
from lib.analysis.statistics.clusters import clustered_mean_interval
from lib.analysis.statistics.outcomes import Floats, compare_gaps
from lib.analysis.statistics.selection_law import correlation_at, selection_win_rate
from lib.runtime.files import Row


def judge_pairs(scores: Mapping[str, ArrayLike], reader: str, resamples: int = 1000,
                seed: int = 0) -> list[Row]:
    """Each two judges' correlation within prompts, and what the first one's picks win.

    scores: judge -> [prompts, answers], the reader's among them; a prompt with a NaN counts for
    nobody. Rows of `correlation_rows`, and with m answers a prompt: `n_candidates` (m - 1),
    `reader_a` and `reader_b` (correlations with the reader), and for `judge` (the second) and
    `reader` what the first one's best of m - 1 wins over the answer left out: `<who>_forecast`
    (from the share of pairs that both order alike, by normal scores), and observed `<who>_value`,
    `_low` and `_high`; `flattery`, what the judge gives above the reader. Intervals over prompts.
    """
    arrays = {name: np.asarray(each, dtype=float) for name, each in scores.items()}
    whole = ~np.isnan(list(arrays.values())).any(axis=(0, 2))
    arrays = {name: each[whole] for name, each in arrays.items()}
    rows = correlation_rows(arrays, reader, resamples, seed)
    with_reader = {name: row["correlation"] for row in rows if reader in _names(row)
                   for name in _names(row) if name != reader}
    return [row | {"n_candidates": arrays[reader].shape[1] - 1,
                   "reader_a": with_reader[row["judge_a"]], "reader_b": with_reader[row["judge_b"]]}
            | _wins(arrays[row["judge_a"]], arrays[row["judge_b"]], arrays[reader])
            for row in rows if reader not in _names(row)]


def best_of_others(picker: ArrayLike, judge: ArrayLike) -> Floats:
    """What the picker's best of the other answers wins by the judge over each answer, [prompts].

    Means over the answers of a prompt, [prompts, answers] in; equal best ones are picked equally
    often, an equal score of the judge is half a win.
    """
    picker, judge = np.asarray(picker, dtype=float), np.asarray(judge, dtype=float)
    wins = np.zeros(len(picker))
    for left_out in range(picker.shape[1]):
        others = np.delete(picker, left_out, axis=1)
        best = others == others.max(axis=1, keepdims=True)
        won = compare_gaps(np.delete(judge, left_out, axis=1) - judge[:, [left_out]])
        wins += (best * won).sum(axis=1) / best.sum(axis=1)
    return wins / picker.shape[1]


def pairs_alike(one: ArrayLike, other: ArrayLike) -> float:
    """Share of pairs of a prompt's answers that both order alike; a tie by either is a half."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    signs = [np.sign(one[:, a] - one[:, b]) * np.sign(other[:, a] - other[:, b])
             for a, b in combinations(range(one.shape[1]), 2)]
    return float(np.mean(signs) / 2 + 0.5)


def _wins(picker: Floats, judge: Floats, reader: Floats) -> Row:
    row: Row = {}
    won = {who: best_of_others(picker, scores)
           for who, scores in (("judge", judge), ("reader", reader))}
    for who, scores in (("judge", judge), ("reader", reader)):
        found, alike = share_row(won[who]), correlation_at(pairs_alike(picker, scores))
        row |= {f"{who}_forecast": selection_win_rate(picker.shape[1] - 1, alike),
                f"{who}_value": found["value"], f"{who}_low": found["ci_low"],
                f"{who}_high": found["ci_high"]}
    apart = won["judge"] - won["reader"]
    low, high = clustered_mean_interval(apart)
    return row | {"flattery": float(apart.mean()), "flattery_low": low, "flattery_high": high}


def _names(row: Row) -> tuple[str, str]:
    return row["judge_a"], row["judge_b"]
