"""Best-of-N beside what selection alone explains, and whether DPO and BoN add up.

In: response rows whose candidates carry the scores of selector and judge. The prediction takes the
rate of a single random draw, the pool's size and how far the judge's score follows the selector's
within a prompt; it knows nothing about better answers. It is itself estimated, from the same
prompts, so what is tested is the excess of the observed rate over it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.analysis.comparisons.scoreboard import chosen, scoreboard
from lib.analysis.statistics.bootstrap import bootstrap_means, interaction_test
from lib.analysis.statistics.intervals import difference_interval, mean_interval
from lib.analysis.statistics.selection_null import (
    best_of_n_null,
    correlation_of,
    same_pool_win_rates,
    selection_win_rate,
    within_prompt_products,
)

Row = dict[str, Any]
Systems = Mapping[str, Sequence[Row]]
Floats = NDArray[np.float64]
NEVER_CERTAIN = (0.005, 0.995)  # a single draw's rate of 0 or 1 has no finite log-odds
BEST_OF_N = re.compile(r"(?P<policy>.+)\+bon(?P<n>\d+)@(?P<temperature>[0-9.]+)")


def selection_effects(systems: Systems, selector: str, judges: Sequence[str],
                      opponents: Sequence[str] = ("base", "sft"), resamples: int = 1000,
                      seed: int = 0) -> list[Row]:
    """Observed and predicted win rates of each Best-of-N system, by each judge.

    Against a random pick of its own pool (`control`: `+randomN`, or the plain policy) and against
    `opponents`. Rows {"system", "opponent", "judge", "n_candidates", "correlation", "single",
    "null", "predicted", "observed", "ci_low", "ci_high", "n", "excess", "excess_low",
    "excess_high"}: single is the control's rate over that opponent; null is the line of equal
    policies judged by the selector; excess is observed - predicted, and needs more (or less) than
    selection where its interval leaves out zero.
    """
    rows = []
    for name in systems:
        match = BEST_OF_N.fullmatch(name)
        if match:
            control = _control(systems, match)
            against = dict.fromkeys([control, *(o for o in opponents if o in systems)])
            rows += [_effect(systems, name, control, opponent, selector, judge, resamples, seed)
                     for judge in judges for opponent in against]
    return rows


def excess_of(row: Row) -> tuple[float, float, float]:
    """Observed minus predicted and its interval; of earlier results, as if the line were exact."""
    return tuple(row.get(f"excess{end}", row[key] - row["predicted"]) for end, key in (
        ("", "observed"), ("_low", "ci_low"), ("_high", "ci_high")))


def complementarity(systems: Systems, judge: str, both: str, first_only: str, second_only: str,
                    neither: str, resamples: int = 10_000, seed: int = 0) -> Row:
    """Does Best-of-N help DPO more than SFT? The judge's score gained together minus apart.

    both, first_only, second_only, neither: e.g. dpo+bon4@0.6, dpo, sft+bon4@0.6, sft. `gain_with`
    and `gain_without` are what Best-of-N adds with and without the first; their difference `mean`
    above zero: complementary; below: they overlap. On the judge's own scale.
    """
    names = (both, first_only, second_only, neither)
    board = scoreboard({name: systems[name] for name in names}, [judge])
    scores = board.scores[0]
    found = interaction_test(*scores, resamples=resamples, seed=seed)
    complete = scores[:, ~np.isnan(scores).any(axis=0)]  # the prompts that the test counts
    means = {f"mean_{role}": float(row.mean()) for role, row in
             zip(("both", "first_only", "second_only", "neither"), complete, strict=True)}
    return {"judge": judge, "both": both, "first_only": first_only, "second_only": second_only,
            "neither": neither} | asdict(found) | means | {
                "gain_with": means["mean_both"] - means["mean_first_only"],
                "gain_without": means["mean_second_only"] - means["mean_neither"]}


def pool_scores(rows: Sequence[Row], judge: str) -> np.ndarray:
    """A judge's scores of all candidates, [prompts, candidates]; NaN where there is none."""
    width = max(len(row["candidates"]) for row in rows)
    scores = np.full((len(rows), width), np.nan)
    for place, row in enumerate(rows):
        for column, candidate in enumerate(row["candidates"]):
            score = candidate.get("rewards", {}).get(judge)
            scores[place, column] = np.nan if score is None else score
    return scores


def _effect(systems: Systems, name: str, control: str, opponent: str, selector: str, judge: str,
            resamples: int, seed: int) -> Row:
    n = int(BEST_OF_N.fullmatch(name)["n"])
    same_pool = _in_pool(systems[name], systems[opponent])
    values = _ingredients(systems, name, control, opponent, selector, judge)
    observed, single = values[:, 0], values[:, 1]
    ends = mean_interval(observed)
    found = _estimates(np.nanmean(values, axis=0), n, same_pool)
    row = {"system": name, "control": control, "opponent": opponent, "judge": judge,
           "n_candidates": n, "correlation": _or_none(found["correlation"]),
           "null": 1 - 1 / (2 * n) if same_pool else best_of_n_null(n),
           "single": float(np.nanmean(single)), "predicted": _or_none(found["predicted"]),
           "observed": float(np.nanmean(observed)), "ci_low": ends.low, "ci_high": ends.high,
           "n": int((~np.isnan(observed)).sum())}
    if row["predicted"] is None:
        return row | {"excess": None, "excess_low": None, "excess_high": None}
    draws = bootstrap_means(values, resamples, seed, np.float64)
    low, high = _excess_ends(row, draws[:, 0], _estimates(draws, n, same_pool)["predicted"])
    return row | {"excess": row["observed"] - row["predicted"], "excess_low": low,
                  "excess_high": high}


def _ingredients(systems: Systems, name: str, control: str, opponent: str, selector: str,
                 judge: str) -> Floats:
    """Per prompt: outcome of the best of n, of the control, and what the correlation is made of.

    [prompts, 5]; against the control itself one draw wins half.
    """
    names = dict.fromkeys((name, control, opponent))
    board = scoreboard({one: systems[one] for one in names}, [judge])
    place = board.systems.index
    rows = {row["id"]: row for row in systems[name]}
    pool = [rows[key] for key in board.prompts]
    products = within_prompt_products(pool_scores(pool, selector), pool_scores(pool, judge))
    single = np.full(len(pool), 0.5) if opponent == control else \
        board.outcomes(judge, place(control), place(opponent))
    return np.column_stack([board.outcomes(judge, place(name), place(opponent)), single, products])


def _estimates(means: Floats, n: int, same_pool: bool) -> dict[str, Floats]:
    """Correlation and predicted rate from means of the ingredients, [..., 5]; NaN where unknown."""
    correlation, single = correlation_of(means[..., 2:]), means[..., 1]
    if same_pool:
        return {"correlation": correlation, "predicted": same_pool_win_rates(n, correlation)}
    known = ~(np.isnan(correlation) | np.isnan(single))
    predicted = selection_win_rate(n, np.where(known, correlation, 0),
                                   np.clip(np.where(known, single, 0.5), *NEVER_CERTAIN))
    return {"correlation": correlation, "predicted": np.where(known, predicted, np.nan)}


def _excess_ends(row: Row, observed: Floats, predicted: Floats) -> tuple[float, float]:
    """Interval of observed - predicted from that of each and how they vary together."""
    known = ~(np.isnan(observed) | np.isnan(predicted))
    observed, predicted = observed[known], predicted[known]
    low, high = np.percentile(predicted, [2.5, 97.5]) if known.any() else (0.0, 1.0)
    varied = known.any() and observed.std() > 0 and predicted.std() > 1e-12
    together = float(np.corrcoef(observed, predicted)[0, 1]) if varied else 0.0
    return difference_interval(
        row["observed"], (row["ci_low"], row["ci_high"]), row["predicted"],
        (min(float(low), row["predicted"]), max(float(high), row["predicted"])), together)


def _or_none(value: Floats) -> float | None:
    return None if np.isnan(value) else float(value)


def _in_pool(pool_rows: Sequence[Row], opponent_rows: Sequence[Row]) -> bool:
    """Whether each answer of the opponent is one of the candidates that were picked from."""
    answers = {row["id"]: chosen(row)["text"] for row in opponent_rows}
    return all(answers[row["id"]] in {candidate["text"] for candidate in row["candidates"]}
               for row in pool_rows)


def _control(systems: Systems, match: re.Match) -> str:
    """The random pick from the same pool, or the plain policy where there is none."""
    name = f"{match['policy']}+random{match['n']}@{match['temperature']}"
    return name if name in systems else match["policy"]
