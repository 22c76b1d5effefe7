"""Best-of-N curves: what the best of n gains, by the selector and by the judge.

The opponent is always one SFT answer, drawn independently. For DPO's pool that is any of SFT's
candidates; in SFT's own pool each candidate in turn is the opponent of the others, so that equal
policies judged by the selector give n / (n + 1). Every row has its number of prompts and a 95 %
interval over prompts; prompts with an unscored answer are left out and counted. What follows from
counting alone has no sampling error and no interval (None): one draw against another of the same
pool, by any judge, and the selector's verdict on its own pick where no two candidates tie.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lib.analysis.comparisons.scoreboard import outcome
from lib.analysis.statistics.clusters import clustered_mean_interval, clustered_share_interval
from lib.data.schema import is_missing
from lib.inference.best_of_n import best_of_n_curve, kl_bound
from lib.runtime.files import Row

Floats = NDArray[np.float64]
Pools = Mapping[tuple[str, float], Sequence[Row]]  # (policy, temperature) -> rows with candidates
Match = tuple[NDArray[np.bool_], Floats]
Ends = tuple[float | None, float | None]
SELECTOR = "selector"
ROUNDING = 1e-9  # values that differ by less are one value


def win_rate_rows(pools: Pools, opponents: Sequence[Row], judges: Sequence[str],
                  most: int | None = None) -> list[Row]:
    """Rows {"policy", "temperature", "judge", "n", "kl_bound", "prompts", "left_out", "value",
    "ci_low", "ci_high"}: how often the selector's best of n beats one SFT answer.

    kl_bound: nats, an upper bound (see `lib.inference.best_of_n.kl_bound`). most: report n = 1, 2,
    4, ... up to it; None reports every n.
    """
    rows = []
    for (policy, temperature), pool in pools.items():
        for judge in judges:
            values = win_curves(pool, opponents, judge)
            fixed = _counted(values, judge) if pool is opponents else set()
            rows += [{"policy": policy, "temperature": temperature} | row
                     for row in _curve_rows(judge, pool, values, most, share_row, fixed)]
    return rows


def _counted(values: Floats, judge: str) -> set[int]:
    """The n whose rate in the own pool follows from counting; values [prompts, n]."""
    sizes = range(1, values.shape[1] + 1) if len(values) else ()
    return {n for n in sizes if n == 1 or (judge == SELECTOR and same_for_all(values[:, n - 1]))}


def same_for_all(values: Floats) -> bool:
    """Whether all prompts have one value, [prompts]."""
    return bool(np.ptp(values) < ROUNDING)


def win_curves(pool: Sequence[Row], opponents: Sequence[Row], judge: str) -> Floats:
    """Probability that the selector's best of n beats one opponent by `judge`: [prompts, n].

    opponents: rows of the same prompts; where they are the pool itself, each candidate in turn is
    the opponent of the others. Prompts with an unscored answer are left out.
    """
    return np.array([
        np.mean([best_of_n_curve(proxy[plays], wins) for plays, wins in matches], axis=0)
        for _, proxy, matches in scored_matches(pool, opponents, judge)])


def best_over_random(pool: Sequence[Row], judge: str, n: int) -> Floats:
    """Probability that the selector's best of n beats a random one of the same n, [prompts].

    Exact: the mean over all n, the best itself (a tie) and its duplicates included, in each whole
    block of n candidates. By the selector it is 1 - k / (2 n), where k tie with the best. Prompts
    with an unscored answer are left out; a pool of fewer than n has none.
    """
    scores = np.hstack([pool_scores(pool, name) for name in (SELECTOR, judge)])
    kept = [row for row, unknown in zip(pool, np.isnan(scores), strict=True) if not unknown.any()]
    size = min(len(row["candidates"]) for row in pool)
    blocks = [[{**row, "candidates": row["candidates"][start:start + n]} for row in kept]
              for start in range(0, size - n + 1, n)]
    return np.mean([[np.mean([best_of_n_curve(proxy, wins)[-1] for _, wins in matches])
                     for _, proxy, matches in scored_matches(block, block, judge, leave_out=False)]
                    for block in blocks], axis=0) if kept and blocks else np.empty(0)


def scored_matches(pool: Sequence[Row], opponents: Sequence[Row], judge: str,
                   leave_out: bool = True) -> Iterator[tuple[list[Row], Floats, list[Match]]]:
    """Yield the candidates [N], the selector's scores [N] and the matches of each prompt.

    A match with an opponent says which candidates play, [N], and for each of these 1, 0.5 or 0 by
    `judge`. leave_out: in its own pool no candidate plays itself. The pool may hold some of the
    opponents' prompts. Prompts with an unscored answer are left out.
    """
    same = leave_out and pool is opponents
    if len(pool) < len(opponents):
        by_id = {row["id"]: row for row in opponents}
        opponents = [by_id[row["id"]] for row in pool]
    scores = zip(pool, opponents, pool_scores(pool, SELECTOR), pool_scores(pool, judge),
                 pool_scores(opponents, judge), strict=True)
    for row, rivals, proxy, gold, against in scores:
        if not any(np.isnan(part).any() for part in (proxy, gold, against)):
            yield (row["candidates"], proxy,
                   list(_matches(gold, against, _texts(row), _texts(rivals), same)))


def _matches(gold: Floats, against: Floats, texts: NDArray[np.object_],
             rivals: NDArray[np.object_], same: bool) -> Iterator[Match]:
    for place, (score, text) in enumerate(zip(against, rivals, strict=True)):
        plays = np.arange(len(gold)) != place if same else np.full(len(gold), True)
        yield plays, outcome(gold[plays], np.full(plays.sum(), score), texts[plays] == text)


def _texts(row: Row) -> NDArray[np.object_]:
    return np.array([candidate["text"].strip() for candidate in row["candidates"]], dtype=object)


def pool_scores(rows: Sequence[Row], judge: str) -> Floats:
    """A judge's scores of all candidates, [prompts, candidates]; a missing score is NaN."""
    width = max(len(row["candidates"]) for row in rows)
    scores = np.full((len(rows), width), np.nan)
    for place, row in enumerate(rows):
        for column, candidate in enumerate(row["candidates"]):
            score = candidate.get("rewards", {}).get(judge)
            scores[place, column] = np.nan if score is None else score
    return scores


def gain_rows(pools: Pools, judges: Sequence[str], most: int | None = None) -> list[Row]:
    """How much higher the best of n scores than one draw, by the selector and by the judge.

    `value` is in standard deviations of that reward model's scores within a prompt, so that both
    fit on one axis; other keys as in `win_rate_rows`. A model that scores all candidates of every
    prompt alike has no such unit and no rows.
    """
    rows = []
    for (policy, temperature), pool in pools.items():
        proxies = pool_scores(pool, SELECTOR)
        rows += [{"policy": policy, "temperature": temperature} | row for judge in judges
                 for row in _curve_rows(judge, pool, gain_curves(
                     proxies, pool_scores(pool, judge)), most, mean_row, {1})]
    return rows


def gain_curves(proxy: Floats, gold: Floats) -> Floats:
    """Gold score of the proxy's best of n minus the mean draw's, in gold's spread: [prompts, n].

    proxy, gold: [prompts, N]; the spread is the root of the mean variance within a prompt.
    """
    kept = ~(np.isnan(proxy).any(1) | np.isnan(gold).any(1))
    proxy, gold = proxy[kept], gold[kept]
    comparable = len(gold) and proxy.shape[1] > 1
    spread = np.sqrt(gold.var(axis=1, ddof=1).mean()) if comparable else 0
    if spread == 0:
        return np.empty((0, proxy.shape[1]))
    return (best_of_n_curve(proxy, gold) - gold.mean(1, keepdims=True)) / spread


def _curve_rows(judge: str, pool: Sequence[Row], values: Floats, most: int | None,
                summary: Callable[[Floats], Row], fixed: set[int]) -> list[Row]:
    """A row for each n of a pool's curve, values [prompts, n]; none without a prompt.

    fixed: the n whose value follows from counting.
    """
    if not len(values):
        return []
    sizes: Sequence[int] = range(1, values.shape[1] + 1)
    if most is not None:
        sizes = [n for n in sizes if n <= most and n.bit_count() == 1]  # powers of two
    return [{"judge": judge, "left_out": len(pool) - len(values), "n": n, "kl_bound": kl_bound(n)}
            | (fixed_row if n in fixed else summary)(values[:, n - 1]) for n in sizes]


def mean_row(values: Floats) -> Row:
    """{"prompts", "value", "ci_low", "ci_high"} for one number a prompt, [prompts]."""
    return _row(values, clustered_mean_interval(values))


def share_row(values: Floats) -> Row:
    """The same for one win probability a prompt; its interval stays between 0 and 1."""
    return _row(values, clustered_share_interval(values))


def fixed_row(values: Floats) -> Row:
    """The same for a value that follows from counting: it has no interval."""
    return _row(values, (None, None))


def _row(values: Floats, ends: Ends) -> Row:
    return {"prompts": len(values), "value": float(values.mean()), "ci_low": ends[0],
            "ci_high": ends[1]}


def curves_by_judge(curves: Sequence[Row], policy: str,
                    temperature: float | None = None) -> dict[str, list[Row]]:
    """One policy's curves by judge, as the figures take them; None: its first temperature."""
    rows = [row for row in curves if row["policy"] == policy]
    wanted = rows[0]["temperature"] if temperature is None and rows else temperature
    chosen = [row for row in rows if row["temperature"] == wanted]
    return {judge: [row for row in chosen if row["judge"] == judge]
            for judge in dict.fromkeys(row["judge"] for row in chosen)}


def cost_rows(pools: Pools, opponents: Sequence[Row], costs: Sequence[Row],
              judge: str = "judge") -> list[Row]:
    """What each pool costs a prompt, and how much win rate that gains by the judge.

    costs: rows of costs.json. Rows {"pool", "prompts", "candidates", "tokens", "sampling_seconds",
    "scoring_seconds" (all a prompt, null where not measured), "distinct" candidates, "at_limit"
    share, "n", "gain", "ci_low", "ci_high"}: gain is the judge's win rate of the best of n minus
    that of one draw.
    """
    known = {(row["policy"], row["temperature"]): row for row in costs}
    return [_cost_row(key, pool, known[key], win_curves(pool, opponents, judge))
            for key, pool in pools.items()]


def _cost_row(key: tuple[str, float], pool: Sequence[Row], cost: Row, wins: Floats) -> Row:
    texts = [[c["text"] for c in row["candidates"] if not is_missing(c)] for row in pool]
    candidates = [c for row in pool for c in row["candidates"] if not is_missing(c)]
    row = {"policy": key[0], "temperature": key[1], "pool": f"{key[0]} at T = {key[1]:g}",
           "prompts": len(pool), "candidates": cost["candidates"],
           "distinct": sum(len(set(given)) for given in texts) / len(pool),
           "at_limit": sum(c["finish"] == "length" for c in candidates) / max(1, len(candidates))}
    for name in ("tokens", "sampling_seconds", "scoring_seconds"):
        row[name] = None if cost[name] is None else cost[name] / cost["prompts"]
    if not len(wins):
        return row | {"n": None, "gain": None, "ci_low": None, "ci_high": None}
    found = mean_row(wins[:, -1] - wins[:, 0])
    return row | {"n": wins.shape[1], "gain": found["value"], "ci_low": found["ci_low"],
                  "ci_high": found["ci_high"]}
