"""Best-of-N beside what selection alone explains, and whether DPO and BoN add up.

In: the scoreboard of the systems, and the pools that they were picked from. The prediction needs
the rate of a single random draw, the pool's size and the correlation of the judge's and the
selector's scores within a prompt; better answers do not enter it. It is estimated from the same
prompts, so the test is of the excess of the observed rate over it.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from lib.analysis.best_of_n.curves import Pools, pool_scores
from lib.analysis.comparisons.scoreboard import Scoreboard
from lib.analysis.statistics.bootstrap import bootstrap_means, paired_bootstrap
from lib.analysis.statistics.intervals import difference_interval, mean_interval
from lib.analysis.statistics.selection_null import (
    correlation_of,
    same_pool_win_rates,
    selection_win_rate,
    within_prompt_products,
)
from lib.inference.systems import BEST, System
from lib.runtime.files import Row

Floats = NDArray[np.float64]
NEVER_CERTAIN = (0.005, 0.995)  # a rate of 0 or 1 has no finite normal quantile


def selection_effects(board: Scoreboard, pools: Pools, selector: str,
                      opponents: Sequence[str] = ("base", "sft"), resamples: int = 1000,
                      seed: int = 0) -> list[Row]:
    """Observed and predicted win rates of each Best-of-N system, by each judge of the board.

    Against a random pick of its own pool (`control`: `+randomN`, or the plain policy) and against
    `opponents`. Rows {"system", "opponent", "judge", "n_candidates", "correlation", "single",
    "null", "predicted", "observed", "ci_low", "ci_high", "n", "excess", "excess_low",
    "excess_high"}: single is the control's rate over that opponent; null is the line of equal
    policies judged by the selector; excess is observed - predicted: where its interval excludes
    zero, selection alone does not explain the rate.
    """
    rows = []
    for system in map(System.parse, board.systems):
        if system.rule == BEST and len(pools[system.policy, system.temperature]) == len(
                board.prompts):
            pool = _in_order(pools[system.policy, system.temperature], board.prompts)
            control = _control(board, system)
            against = dict.fromkeys([control, *(o for o in opponents if o in board.systems)])
            rows += [_effect(board, pool, system, control, opponent, selector, judge, resamples,
                             seed) for judge in board.judges for opponent in against]
    return rows


def excess_of(row: Row) -> tuple[float, float, float]:
    """Observed minus predicted and its interval; earlier results take the prediction as exact."""
    return tuple(row.get(f"excess{end}", row[key] - row["predicted"]) for end, key in (
        ("", "observed"), ("_low", "ci_low"), ("_high", "ci_high")))


def complementarity(board: Scoreboard, judge: str, both: str, first_only: str, second_only: str,
                    neither: str, resamples: int = 10_000, seed: int = 0) -> Row:
    """Does Best-of-N help DPO more than SFT? The interaction of the two in the judge's scores.

    both, first_only, second_only, neither: e.g. dpo+bon4@0.6, dpo, sft+bon4@0.6, sft. `gain_with`
    and `gain_without` are what Best-of-N adds with and without the first, on the judge's scale.
    Their difference, `mean`, is 0 where the gains add up, positive where the two complement each
    other, negative where they overlap.
    """
    places = [board.place(name) for name in (both, first_only, second_only, neither)]
    scores = board.scores[board.judges.index(judge), places]
    interaction = paired_bootstrap(scores[0] - scores[1], scores[2] - scores[3], resamples, seed)
    complete = scores[:, ~np.isnan(scores).any(axis=0)]  # the prompts that the test counts
    means = {f"mean_{role}": float(row.mean()) for role, row in
             zip(("both", "first_only", "second_only", "neither"), complete, strict=True)}
    return {"judge": judge, "both": both, "first_only": first_only, "second_only": second_only,
            "neither": neither} | asdict(interaction) | means | {
                "gain_with": means["mean_both"] - means["mean_first_only"],
                "gain_without": means["mean_second_only"] - means["mean_neither"]}


def _effect(board: Scoreboard, pool: Sequence[Row], system: System, control: str, opponent: str,
            selector: str, judge: str, resamples: int, seed: int) -> Row:
    n, same_pool = system.n, _in_pool(board, pool, opponent)
    values = _ingredients(board, pool, system.name, control, opponent, selector, judge)
    observed, single = values[:, 0], values[:, 1]
    ends = mean_interval(observed)
    found = _estimates(np.nanmean(values, axis=0), n, same_pool)
    row = {"system": system.name, "control": control, "opponent": opponent, "judge": judge,
           "n_candidates": n, "correlation": _or_none(found["correlation"]),
           "null": 1 - 1 / (2 * n) if same_pool else n / (n + 1),
           "single": float(np.nanmean(single)), "predicted": _or_none(found["predicted"]),
           "observed": float(np.nanmean(observed)), "ci_low": ends.low, "ci_high": ends.high,
           "n": int((~np.isnan(observed)).sum())}
    if row["predicted"] is None:
        return row | {"excess": None, "excess_low": None, "excess_high": None}
    draws = bootstrap_means(values, resamples, seed, np.float64)
    low, high = _excess_ends(row, draws[:, 0], _estimates(draws, n, same_pool)["predicted"])
    return row | {"excess": row["observed"] - row["predicted"], "excess_low": low,
                  "excess_high": high}


def _ingredients(board: Scoreboard, pool: Sequence[Row], name: str, control: str, opponent: str,
                 selector: str, judge: str) -> Floats:
    """Per prompt: outcomes of the best of n and of the control, and the three sums of products.

    [prompts, 5]; a single draw wins half against the control itself.
    """
    products = within_prompt_products(pool_scores(pool, selector), pool_scores(pool, judge))
    single = np.full(len(pool), 0.5) if opponent == control else \
        board.outcomes(judge, control, opponent)
    return np.column_stack([board.outcomes(judge, name, opponent), single, products])


def _estimates(means: Floats, n: int, same_pool: bool) -> dict[str, Floats]:
    """Correlation and predicted rate from means of `_ingredients`, [..., 5]; NaN where unknown."""
    correlation, single = correlation_of(means[..., 2:]), means[..., 1]
    if same_pool:
        return {"correlation": correlation, "predicted": same_pool_win_rates(n, correlation)}
    known = ~(np.isnan(correlation) | np.isnan(single))
    predicted = selection_win_rate(n, np.where(known, correlation, 0),
                                   np.clip(np.where(known, single, 0.5), *NEVER_CERTAIN))
    return {"correlation": correlation, "predicted": np.where(known, predicted, np.nan)}


def _excess_ends(row: Row, observed: Floats, predicted: Floats) -> tuple[float, float]:
    """Interval of observed - predicted from the interval of each and their correlation."""
    known = ~(np.isnan(observed) | np.isnan(predicted))
    observed, predicted = observed[known], predicted[known]
    low, high = np.percentile(predicted, [2.5, 97.5]) if known.any() else (0.0, 1.0)
    varied = known.any() and observed.std() > 0 and predicted.std() > 1e-12
    correlation = float(np.corrcoef(observed, predicted)[0, 1]) if varied else 0.0
    return difference_interval(
        row["observed"], (row["ci_low"], row["ci_high"]), row["predicted"],
        (min(float(low), row["predicted"]), max(float(high), row["predicted"])), correlation)


def _or_none(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)


def _in_order(pool: Sequence[Row], prompts: Sequence[str]) -> list[Row]:
    rows = {row["id"]: row for row in pool}
    return [rows[prompt] for prompt in prompts]


def _in_pool(board: Scoreboard, pool: Sequence[Row], opponent: str) -> bool:
    """Whether each answer of the opponent is a candidate of the pool."""
    return all(text is None or text in {each["text"].strip() for each in row["candidates"]}
               for text, row in zip(board.texts[board.place(opponent)], pool, strict=True))


def _control(board: Scoreboard, system: System) -> str:
    """The random pick from the same pool, or else the policy's single answer."""
    name = system.control.name
    return name if name in board.systems else system.policy
