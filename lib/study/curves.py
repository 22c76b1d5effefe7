"""Best-of-N curves of a run: what picking the best of n buys, by the selector and by the judge.

The opponent is always one SFT answer drawn independently. For DPO's pool that is any of SFT's
candidates; for SFT's own pool each candidate in turn is the opponent of the others, so that equal
policies under the selector's own eye give n / (n + 1).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.analysis.resampling import clustered_interval
from lib.inference.best_of_n import best_of_n_curve
from lib.runtime.files import Row
from lib.study.rerank import reranked_pools
from lib.study.reward_stage import ROLES
from lib.study.run import Study


def best_of_n_curves(study: Study, systems: dict[str, list[Row]]) -> list[Row]:
    """Rows {"policy", "temperature", "judge", "n", "prompts", "value", "ci_low", "ci_high"}."""
    n, main = study.profile.sampling.samples, study.profile.sampling.temperature
    opponents = systems[f"sft+bon{n}@{main:g}"]
    rows = []
    for policy, temperature in reranked_pools(study):
        pool = systems[f"{policy}+bon{n}@{temperature:g}"]
        for judge in ROLES:
            values = win_curves(pool, None if pool is opponents else opponents, judge)
            rows += [{"policy": policy, "temperature": temperature, "judge": judge} | row
                     for row in _summary(values)]
    return rows


def win_curves(pool: Sequence[Row], opponents: Sequence[Row] | None, judge: str) -> np.ndarray:
    """Chance that the selector's best of n beats one opponent by `judge`: [prompts, n].

    opponents None: each candidate of the pool in turn is the opponent of the others. Prompts in
    which an answer could not be scored are left out.
    """
    curves = []
    for number, row in enumerate(pool):
        proxy, gold = _scores(row, "selector"), _scores(row, judge)
        against = gold if opponents is None else _scores(opponents[number], judge)
        if not any(np.isnan(scores).any() for scores in (proxy, gold, against)):
            curves.append(_curve(proxy, gold, against, opponents is None))
    return np.array(curves)


def _curve(proxy: np.ndarray, gold: np.ndarray, against: np.ndarray, same: bool) -> np.ndarray:
    parts = []
    for place, opponent in enumerate(against):
        kept = np.arange(len(gold)) != place if same else np.full(len(gold), True)
        wins = (np.sign(gold[kept] - opponent) + 1) / 2
        parts.append(best_of_n_curve(proxy[kept], wins))
    return np.mean(parts, axis=0)


def _scores(row: Row, judge: str) -> np.ndarray:
    return np.array([candidate["rewards"][judge] for candidate in row["candidates"]], dtype=float)


def _summary(values: np.ndarray) -> list[dict[str, Any]]:
    if not len(values):
        return []
    rows = []
    for place in range(values.shape[1]):
        low, high = clustered_interval(values[:, place], np.arange(len(values)))
        rows.append({"n": place + 1, "prompts": len(values), "ci_low": low, "ci_high": high,
                     "value": float(values[:, place].mean())})
    return rows


def curves_by_judge(curves: Sequence[Row], policy: str) -> dict[str, list[Row]]:
    """One policy's curves at its first temperature, by judge, as `best_of_n_figure` takes them."""
    rows = [row for row in curves if row["policy"] == policy]
    first = [row for row in rows if row["temperature"] == rows[0]["temperature"]]
    return {judge: [row for row in first if row["judge"] == judge] for judge in ROLES}


def cost_rows(study: Study, systems: dict[str, list[Row]]) -> list[Row]:
    """What each pool costs: new tokens a prompt, distinct candidates, share cut at the limit."""
    n, rows = study.profile.sampling.samples, []
    for policy, temperature in reranked_pools(study):
        pool = systems[f"{policy}+bon{n}@{temperature:g}"]
        candidates = [candidate for row in pool for candidate in row["candidates"]]
        rows.append({
            "pool": f"{policy} at T = {temperature:g}", "prompts": len(pool), "candidates": n,
            "tokens": sum(candidate["tokens"] for candidate in candidates) / len(pool),
            "distinct": sum(len({c["text"] for c in row["candidates"]})
                            for row in pool) / len(pool),
            "at_limit": sum(c["finish"] == "length" for c in candidates) / len(candidates)})
    return rows
