"""Components of a win rate's variance: prompts, draws, the judge's fit, and training seeds.

A rate over n prompts with K candidates a side, judged by one fitted judge, in S trainings, has the
variance

    (prompt + draw / (K S)) / n + seed / S + judge

More prompts lower the first two, more candidates the second; no prompts lower the judge's part,
which is there only if "a judge" is meant and not this very one. Prompts and draws are told apart by
halves: the candidates of a pool are split in two, and what the halves of a prompt share is the
prompt's. A rate over all pairs of both halves together varies a little less than that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from math import ceil, sqrt
from typing import Any

import numpy as np
from scipy.stats import norm

from lib.analysis.comparisons.all_pairs import Pair
from lib.analysis.comparisons.candidates import Pools, candidate_board
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.judges.audit import audit_systems
from lib.analysis.statistics.outcomes import Floats
from lib.inference.systems import System
from lib.runtime.files import Record, Row

FEWEST = 2  # prompts behind a variance
SEEN = norm.ppf(0.975) + norm.ppf(0.8)  # standard errors of an effect found with power .8


def variance_components(pools: Pools, main: float, judge: str,
                        pairs: Iterable[Pair]) -> list[Row]:
    """Variance between prompts, and of the draws within one, of each pair's win rate by `judge`.

    main: temperature of the plain policies, as in `candidate_board`. Rows {"a", "b", "judge",
    "best_of", "candidates" (a side), "prompts", "rate", "prompt_variance", "draw_variance" (of one
    prompt with one candidate a side)}. best_of is the N that half of the candidates allow. A pair
    without two candidates a side, or six in its own pool, has no row.
    """
    rows = []
    for a, b in pairs:
        values, half, n = replicates(pools, main, judge, *map(System.parse, (a, b)))
        if len(values) >= FEWEST:
            rows.append({"a": a, "b": b, "judge": judge, "best_of": n, "candidates": 2 * half}
                        | split_variance(values, half))
    return rows


def replicates(pools: Pools, main: float, judge: str, a: System,
               b: System) -> tuple[Floats, int, int]:
    """Each prompt's win rate by all pairs from either half of the candidates, [prompts, 2].

    Also the candidates of a half, and the n that a half allows; no prompts where it allows none.
    Prompts with too few scored candidates in a half are left out.
    """
    keys = [(system.policy, main if system.temperature is None else system.temperature)
            for system in (a, b)]
    if not all(key in pools for key in keys):
        return np.empty((0, 2)), 0, 0
    half = min(len(row["candidates"]) for key in keys for row in pools[key]) // 2
    own = keys[0] == keys[1]
    n = min(a.n, half - own)  # in its own pool the opponent is left out
    if n < 1 + own:
        return np.empty((0, 2)), half, 0
    matches = [candidate_board({key: _part(pools[key], start, half) for key in keys}, [judge],
                               main).matches(judge, replace(a, n=n).name, b.name)
               for start in (0, half)]
    values = np.stack([each.values for each in matches], axis=1)
    return values[~np.isnan(values).any(axis=1)], half, n


def _part(rows: Sequence[Row], start: int, size: int) -> list[Row]:
    return [{**row, "candidates": row["candidates"][start:start + size]} for row in rows]


def split_variance(values: Floats, half: int) -> Row:
    """Components from `replicates`, [prompts, 2], of `half` candidates each."""
    of_half = float(np.mean(np.diff(values, axis=1) ** 2)) / 2
    between = float(values.mean(axis=1).var(ddof=1)) - of_half / 2
    return {"prompts": len(values), "rate": float(values.mean()),
            "prompt_variance": max(between, 0.0), "draw_variance": of_half * half}


def refit_rows(rows: Sequence[Record], refits: Sequence[Sequence[Any]], judge: str,
               pairs: Iterable[Pair]) -> list[Row]:
    """How far each win rate on the same read answers moves when the judge is fitted again.

    rows: of the audit; refits: for each fit its scores of all answers. Rows {"a", "b", "judge",
    "refits", "n" prompts, "rate" (mean over fits), "sd", "floor"}: sd is the rate's over fits on
    these prompts, floor what would be left of it on any number. Pairs that the audit lacks have no
    row; prompts that a fit could not score are left out.
    """
    names = [f"fit {number}" for number in range(len(refits))]
    systems = audit_systems(rows, dict(zip(names, refits, strict=True)))
    board = scoreboard(systems, names)
    found = []
    for a, b in pairs:
        if {a, b} <= set(systems):
            values = np.array([board.outcomes(name, a, b) for name in names])  # [fits, prompts]
            values = values[:, ~np.isnan(values).any(axis=0)]
            found.append({"a": a, "b": b, "judge": judge, "refits": len(names),
                          "n": values.shape[1], "rate": float(values.mean())} | _spread(values))
    return found


def _spread(values: Floats) -> Row:
    """Variance of the fits' means, and without the part that more prompts would average out."""
    fits, prompts = values.shape
    of_means = float(values.mean(axis=1).var(ddof=1))
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    of_rest = float(np.sum(rest**2)) / ((fits - 1) * (prompts - 1))
    return {"sd": sqrt(of_means), "floor": sqrt(max(of_means - of_rest / prompts, 0.0))}


def variance_summary(components: Sequence[Row], refits: Sequence[Row],
                     seeds: Sequence[Row]) -> dict[str, list[Row]]:
    """{"parts", "sizes"}: rows of `with_all_parts` and of `sample_sizes`."""
    parts = with_all_parts(components, refits, seeds)
    return {"parts": parts, "sizes": sample_sizes(parts)}


def with_all_parts(components: Sequence[Row], refits: Sequence[Row],
                   seeds: Sequence[Row]) -> list[Row]:
    """Components with the four parts as deviations, and the standard errors that they make.

    Further keys: "prompt_sd", "draw_sd", "judge_sd" and "seed_sd" (None where unknown),
    "standard_error" and "smallest" (the effect that is found with power .8) by this judge, and
    "smallest_any" by any such judge.

    refits: of `refit_rows`; a pair that these lack gets their largest floor. seeds: of seeds.json,
    whose spread is that of trainings and draws; the draws' part is taken off.
    """
    rows = []
    for row in components:
        parts = row | {"prompt_sd": sqrt(row["prompt_variance"]),
                       "draw_sd": sqrt(row["draw_variance"]),
                       "judge_sd": _judge_sd(row, refits), "seed_sd": _seed_sd(row, seeds)}
        error = sqrt(rate_variance(parts, row["prompts"], row["candidates"]))
        any_judge = None if parts["judge_sd"] is None else SEEN * sqrt(
            error**2 + parts["judge_sd"]**2)
        rows.append(parts | {"standard_error": error, "smallest": SEEN * error,
                             "smallest_any": any_judge})
    return rows


def rate_variance(row: Row, prompts: int, candidates: int, seeds: int = 1) -> float:
    """Variance of a win rate by this judge; the seeds' part is 0 where it is unknown."""
    of_prompts = (row["prompt_variance"] + row["draw_variance"] / (candidates * seeds)) / prompts
    return of_prompts + (row["seed_sd"] or 0.0) ** 2 / seeds


def sample_sizes(parts: Sequence[Row], effects: Sequence[float] = (0.03, 0.05, 0.10),
                 candidates: Sequence[int] = (4, 8, 16)) -> list[Row]:
    """Prompts and seeds that find each effect with power .8, by this judge and by any judge.

    parts: of `with_all_parts`. Rows {"a", "b", "judge", "effect", "candidates", "seeds" (None:
    unknown from one), "prompts", "prompts_any" (None: no number, the judge's fit alone hides it)}.
    Seeds take at most half of the allowed variance.
    """
    rows = []
    for row, effect, size in product(parts, effects, candidates):
        allowed = (effect / SEEN) ** 2
        seeds = ceil(2 * (row["seed_sd"] or 0.0) ** 2 / allowed) or 1
        left = allowed - (row["seed_sd"] or 0.0) ** 2 / seeds
        one = row["prompt_variance"] + row["draw_variance"] / (size * seeds)
        of_any = left - (row["judge_sd"] or 0.0) ** 2
        rows.append({key: row[key] for key in ("a", "b", "judge")} | {
            "effect": effect, "candidates": size,
            "seeds": None if row["seed_sd"] is None else seeds, "prompts": ceil(one / left),
            "prompts_any": ceil(one / of_any) if of_any > 0 and row["judge_sd"] is not None
            else None})
    return rows


def _judge_sd(row: Row, refits: Sequence[Row]) -> float | None:
    mine = [refit for refit in refits if refit["judge"] == row["judge"]]
    same = [refit["floor"] for refit in mine if (refit["a"], refit["b"]) == (row["a"], row["b"])]
    return same[0] if same else max((refit["floor"] for refit in mine), default=None)


def _seed_sd(row: Row, seeds: Sequence[Row]) -> float | None:
    """Spread over trainings: that of the seeds' rates, less the part of their draws."""
    key = [row[name] for name in ("a", "b", "judge")]
    for seed in seeds:
        if [seed[name] for name in ("a", "b", "judge")] == key and seed["seeds"] > 1:
            draws = row["draw_variance"] / row["candidates"] / seed["n"]
            return sqrt(max(seed["between_seeds"] ** 2 - draws, 0.0))
    return None
