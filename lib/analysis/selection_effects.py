"""Best-of-N beside what selection alone explains, and whether DPO and BoN add up.

In: response rows whose candidates carry the scores of selector and judge. The prediction takes the
rate of a single random draw, the pool's size and how far the judge's score follows the selector's
within a prompt; it knows nothing about better answers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lib.analysis.resampling import interaction_test
from lib.analysis.scoreboard import chosen, scoreboard
from lib.analysis.selection import (
    same_pool_win_rate,
    selection_win_rate,
    within_prompt_correlation,
)
from lib.analysis.win_rates import compare

Row = dict[str, Any]
Systems = Mapping[str, Sequence[Row]]
BEST_OF_N = re.compile(r"(?P<policy>.+)\+bon(?P<n>\d+)@(?P<temperature>[0-9.]+)")


def selection_effects(systems: Systems, selector: str, judges: Sequence[str],
                      opponents: Sequence[str] = ("base", "sft")) -> list[Row]:
    """Observed and predicted win rates of each Best-of-N system, by each judge.

    Against a random pick of its own pool (`control`: `+randomN`, or the plain policy) and against
    `opponents`. Rows {"system", "opponent", "judge", "n_candidates", "correlation", "single",
    "predicted", "observed", "ci_low", "ci_high", "n"}; single is the control's rate over that
    opponent. Outside the interval, something other than selection is at work.
    """
    rows = []
    for name in systems:
        match = BEST_OF_N.fullmatch(name)
        if match:
            control = _control(systems, match)
            against = dict.fromkeys([control, *(o for o in opponents if o in systems)])
            rows += [_effect(systems, name, control, opponent, selector, judge)
                     for judge in judges for opponent in against]
    return rows


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
    means = {f"mean_{role}": float(np.nanmean(row)) for role, row in
             zip(("both", "first_only", "second_only", "neither"), scores, strict=True)}
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


def _effect(systems: Systems, name: str, control: str, opponent: str, selector: str,
            judge: str) -> Row:
    n = int(BEST_OF_N.fullmatch(name)["n"])
    correlation = 1.0 if judge == selector else within_prompt_correlation(
        pool_scores(systems[name], selector), pool_scores(systems[name], judge))
    observed = compare(systems[name], systems[opponent], judge, name, opponent, resamples=100)
    single = 0.5 if opponent == control else compare(
        systems[control], systems[opponent], judge, control, opponent, resamples=100)["win_rate"]
    return {"system": name, "control": control, "opponent": opponent, "judge": judge,
            "n_candidates": n, "correlation": correlation, "single": single,
            "predicted": _predicted(systems, name, opponent, n, correlation, single),
            "observed": observed["win_rate"], "ci_low": observed["ci_low"],
            "ci_high": observed["ci_high"], "n": observed["n"]}


def _predicted(systems: Systems, name: str, opponent: str, n: int, correlation: float | None,
               single: float) -> float | None:
    if correlation is None:
        return None
    if _in_pool(systems[name], systems[opponent]):
        return same_pool_win_rate(n, correlation)
    return selection_win_rate(n, correlation, float(np.clip(single, 0.005, 0.995)))


def _in_pool(pool_rows: Sequence[Row], opponent_rows: Sequence[Row]) -> bool:
    """Whether each answer of the opponent is one of the candidates that were picked from."""
    answers = {row["id"]: chosen(row)["text"] for row in opponent_rows}
    return all(answers[row["id"]] in {candidate["text"] for candidate in row["candidates"]}
               for row in pool_rows)


def _control(systems: Systems, match: re.Match) -> str:
    """The random pick from the same pool, or the plain policy where there is none."""
    name = f"{match['policy']}+random{match['n']}@{match['temperature']}"
    return name if name in systems else match["policy"]
