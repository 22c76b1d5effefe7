"""What picking adds: the best of N over a random one of the same, and whether it helps DPO more.

In: the pools that the systems picked from, and their scoreboard. The random pick is taken in
expectation over all candidates, so that no draw adds noise. A judge's figure here follows from its
correlation with the selector, whatever made the two agree: it is no test of quality. What a reader
gains is in `lib.analysis.best_of_n.reader_forecast`.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields

import numpy as np

from lib.analysis.best_of_n.curves import (
    SELECTOR,
    Pools,
    best_over_random,
    fixed_row,
    pool_scores,
    share_row,
)
from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.judges.correlations import correlations, within_prompt_moments
from lib.analysis.statistics.bootstrap import Bootstrap, paired_bootstrap
from lib.analysis.statistics.selection_law import same_pool_win_rate
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

MEANS = tuple(f"mean_{role}" for role in ("both", "first_only", "second_only", "neither"))
INTERACTION = (*(field.name for field in fields(Bootstrap)), *MEANS, "gain_with", "gain_without")


def best_over_random_rows(pools: Pools, judges: Sequence[str], n: int) -> list[Row]:
    """What the best of n of each pool wins over a random one of the same n, by each judge.

    Rows {"system", "judge", "n_candidates", "left_out", "prompts", "value", "ci_low", "ci_high",
    "correlation", "arithmetic"}. By the selector, `value` is counting and has no interval.
    correlation: of the judge with the selector within a prompt; arithmetic: what normal scores give
    for it (`selection_law`), not a forecast; both None where a score is flat. A judge that scored
    no prompt's candidates has no row.
    """
    return [_pool_row(key, pool, judge, n, values)
            for key, pool in pools.items() for judge in judges
            if len(values := best_over_random(pool, judge, n))]


def complementarity(board: Scoreboard, judge: str, both: str, first_only: str, second_only: str,
                    neither: str, resamples: int = 10_000, seed: int = 0) -> Row:
    """Does Best-of-N help DPO more than SFT? The interaction of the two in the judge's scores.

    both, first_only, second_only, neither: e.g. dpo+bon4@0.6, dpo, sft+bon4@0.6, sft. `gain_with`
    and `gain_without` are what Best-of-N adds with and without the first, on the judge's scale.
    Their difference, `mean`, is 0 where the gains add up, positive where the two complement each
    other, negative where they overlap. All are None where no prompt has the four scores.
    """
    places = [board.place(name) for name in (both, first_only, second_only, neither)]
    scores = board.scores[board.judges.index(judge), places]
    complete = scores[:, ~np.isnan(scores).any(axis=0)]  # the prompts that the test counts
    return {"judge": judge, "both": both, "first_only": first_only, "second_only": second_only,
            "neither": neither} | (_interaction(scores, complete, resamples, seed)
                                   if complete.size else
                                   dict.fromkeys(INTERACTION) | {"n": 0,
                                                                 "missing": scores.shape[1]})


def _interaction(scores: np.ndarray, complete: np.ndarray, resamples: int, seed: int) -> Row:
    """The keys of `INTERACTION` from scores of the four systems, [4, prompts]."""
    found = paired_bootstrap(scores[0] - scores[1], scores[2] - scores[3], resamples, seed)
    means = dict(zip(MEANS, complete.mean(axis=1).tolist(), strict=True))
    return asdict(found) | means | {
        "gain_with": means["mean_both"] - means["mean_first_only"],
        "gain_without": means["mean_second_only"] - means["mean_neither"]}


def _pool_row(key: tuple[str, float], pool: Sequence[Row], judge: str, n: int,
              values: np.ndarray) -> Row:
    policy, temperature = key
    moments = within_prompt_moments([pool_scores(pool, SELECTOR), pool_scores(pool, judge)])
    found = float(correlations(np.nanmean(moments, axis=0))[0, 1])
    known = not np.isnan(found)
    return {"system": System(policy, BEST, n, temperature).name, "judge": judge,
            "n_candidates": n, "left_out": len(pool) - len(values)} \
        | (fixed_row if judge == SELECTOR else share_row)(values) \
        | {"correlation": found if known else None,
           "arithmetic": same_pool_win_rate(n, found) if known else None}
