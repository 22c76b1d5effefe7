"""Other selection rules on the same pool: random, soft, MBR- and KL-regularised Best-of-N.

All read the selector's scores of one pool, so that a difference comes from the rule and not from
the sample; `lib.inference.selection` has the rules, which the systems of a comparison share.
Expectations are exact: a rule that draws is weighted by its probabilities.
"""

from collections.abc import Sequence

import numpy as np

from lib.analysis.best_of_n.curves import (
    SELECTOR,
    Match,
    Pools,
    fixed_row,
    mean_row,
    same_for_all,
    scored_matches,
    share_row,
)
from lib.analysis.comparisons.candidates import offer_of
from lib.inference.selection import Offer, chances
from lib.inference.systems import BEST, COEFFICIENTS, KL, MBR, RANDOM, SOFT, System
from lib.runtime.files import Row

ONE_AT_RANDOM, BEST_OF_N = "one at random", "best of n"
WORDS = {SOFT: "soft best of n", MBR: "MBR best of n", KL: "KL best of n"}
TRIED = {SOFT: (0.5, 2.0), MBR: (2.0, 8.0), KL: (0.01, 0.1)}  # the defaults, and weaker or stronger


def rules() -> dict[str, System]:
    """Systems by the name of their rule; policy and n do not matter here."""
    return {ONE_AT_RANDOM: System("any", RANDOM), BEST_OF_N: System("any", BEST)} | {
        f"{WORDS[rule]}, {COEFFICIENTS[rule].symbol} = {value:g}":
            System("any", rule, coefficient=value) for rule in TRIED for value in TRIED[rule]}


def rule_rows(pools: Pools, opponents: Sequence[Row], judges: Sequence[str]) -> list[Row]:
    """How often each rule's pick beats one SFT answer, pool by pool.

    Rows {"policy", "temperature", "judge", "rule", "n", "prompts", "value", "ci_low", "ci_high",
    "lead", "lead_low", "lead_high"}: lead is the difference from plain best of n, prompt by prompt.
    What follows from counting has no interval; see `lib.analysis.best_of_n.curves`.
    """
    return [{"policy": policy, "temperature": temperature, "judge": judge} | row
            for (policy, temperature), pool in pools.items() for judge in judges
            for row in pool_rule_rows(pool, opponents, judge)]


def pool_rule_rows(pool: Sequence[Row], opponents: Sequence[Row], judge: str) -> list[Row]:
    """One row a rule for one pool; opponents may be the pool itself, whose others then play it."""
    found: dict[str, list[float]] = {name: [] for name in rules()}
    for candidates, _, matches in scored_matches(pool, opponents, judge):
        offer = offer_of(candidates)
        for name, system in rules().items():
            found[name].append(_rate(system, offer, matches))
    size = len(pool[0]["candidates"]) - (pool is opponents)
    rates = {name: np.array(values) for name, values in found.items()
             if not np.isnan(values).all()}
    fixed = {name for name, values in rates.items() if pool is opponents and (
        name == ONE_AT_RANDOM or (judge == SELECTOR and same_for_all(values)))}
    return [{"rule": name, "n": size}
            | (fixed_row if name in fixed else share_row)(values[~np.isnan(values)])
            | _lead(values - rates[BEST_OF_N], name == BEST_OF_N or {name, BEST_OF_N} <= fixed)
            for name, values in rates.items()]


def _rate(system: System, offer: Offer, matches: Sequence[Match]) -> float:
    """Win rate of a rule's pick on one prompt; NaN where a candidate lacks what the rule reads."""
    places = offer.usable(system)
    if len(places) < len(offer.scores):
        return np.nan
    return float(np.mean([chances(system, offer, places[plays][None])[0] @ wins
                          for plays, wins in matches]))


def _lead(differences: np.ndarray, fixed: bool) -> Row:
    found = (fixed_row if fixed else mean_row)(differences[~np.isnan(differences)])
    return {"lead": found["value"], "lead_low": found["ci_low"], "lead_high": found["ci_high"]}
