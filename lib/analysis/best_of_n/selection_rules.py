"""Other selection rules on the same pool: random, soft Best-of-N and MBR-BoN.

All read the selector's scores of one pool, so that a difference comes from the rule and not from
the sample. Scores are standardised within a prompt, so that `lam` and `beta` have the same unit for
every prompt. Expectations are exact: a rule that draws is weighted by its probabilities.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lib.analysis.best_of_n.curves import (
    SELECTOR,
    Pools,
    fixed_row,
    mean_row,
    same_for_all,
    scored_matches,
    share_row,
)
from lib.analysis.texts.variety import word_similarity
from lib.inference.best_of_n import best_of_n, mbr_best_of_n, soft_best_of_n
from lib.runtime.files import Row

# scores [n], similarity [n, n] -> probabilities [n]
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
SOFTNESS = (0.5, 2.0)  # lam, in standard deviations of the scores within a prompt
ONE_AT_RANDOM, BEST_OF_N = "one at random", "best of n"
AGREEMENT = (2.0, 8.0)  # beta, in the same unit; mean similarities differ by a tenth or so


def rules() -> dict[str, Rule]:
    """Selection rules by name: each gives every candidate's probability of being the answer."""
    return {
        ONE_AT_RANDOM: lambda scores, _: np.full(len(scores), 1 / len(scores)),
        BEST_OF_N: lambda scores, _: _certain(best_of_n(scores), scores),
        **{f"soft best of n, lam = {lam:g}": lambda scores, _, lam=lam: soft_best_of_n(scores, lam)
           for lam in SOFTNESS},
        **{f"MBR best of n, beta = {beta:g}": lambda scores, similarity, beta=beta: _certain(
            mbr_best_of_n(scores, similarity, beta), scores) for beta in AGREEMENT}}


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
    for texts, proxy, matches in scored_matches(pool, opponents, judge):
        similarity = word_similarity(texts)
        for name, rule in rules().items():
            found[name].append(float(np.mean([
                rule(_standardised(proxy[plays]), similarity[np.ix_(plays, plays)]) @ wins
                for plays, wins in matches])))
    size = len(pool[0]["candidates"]) - (pool is opponents)
    rates = {name: np.array(values) for name, values in found.items() if values}
    fixed = {name for name, values in rates.items() if pool is opponents and (
        name == ONE_AT_RANDOM or (judge == SELECTOR and same_for_all(values)))}
    return [{"rule": name, "n": size} | (fixed_row if name in fixed else share_row)(values)
            | _lead(values - rates[BEST_OF_N], name == BEST_OF_N or {name, BEST_OF_N} <= fixed)
            for name, values in rates.items()]


def _lead(differences: np.ndarray, fixed: bool) -> Row:
    found = (fixed_row if fixed else mean_row)(differences)
    return {"lead": found["value"], "lead_low": found["ci_low"], "lead_high": found["ci_high"]}


def _standardised(scores: np.ndarray) -> np.ndarray:
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)


def _certain(pick: int, scores: np.ndarray) -> np.ndarray:
    """All probability on one candidate, [n]."""
    return np.eye(len(scores))[pick]
