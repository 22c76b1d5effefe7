"""The comparisons that were decided on before any answer was seen: what the study reports first.

Holm's correction is over exactly these, within each judge. No comparison that counting alone
decides is among them: a random pick of a pool against a single answer of it is even by
construction, so the random controls stand in a table of their own, as a check of the machinery.
Whatever else the study compares was looked at afterwards and is marked as exploratory.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lib.inference.systems import BEST, RANDOM, System

EVEN = 0.05  # systems that provably differ by at most this are called even, also decided beforehand


class Comparison(NamedTuple):
    """Does a beat b, and why is that asked?"""

    a: str
    b: str
    why: str


def family(n: int, main: float, temperatures: Sequence[float],
           base_reranked: bool = False) -> list[Comparison]:
    """The study's comparisons, for the best of n at `main` and at DPO's other temperatures."""
    def best(policy: str, temperature: float = main) -> str:
        return System(policy, BEST, n, temperature).name

    table_1, combined = "the paper's Table 1", "training and selection together"
    found = [
        Comparison("sft", "base", table_1),
        Comparison(best("sft"), "base", table_1),
        Comparison("dpo", "sft", table_1),
        *(Comparison(best("dpo", heat), "sft", f"{table_1}, by temperature")
          for heat in sorted({main, *temperatures})),
        Comparison("dpo", "base", "both stages of training together"),
        Comparison(best("dpo"), "base", combined),
        Comparison(best("sft"), "sft", "what selection adds without DPO; the paper lacks it"),
        Comparison(best("dpo"), "dpo", "what selection adds to DPO; the paper lacks it"),
        Comparison(best("dpo"), best("sft"), "what DPO adds under selection; the paper lacks it")]
    return found if not base_reranked else [
        *found, Comparison(best("base"), "base", "what selection adds without training"),
        Comparison("sft", best("base"), "training or selection"),
        Comparison("dpo", best("base"), "training or selection")]


def control_pairs(n: int, main: float) -> list[tuple[str, str]]:
    """A random pick of each pool against a single answer of it: even, whatever the answers are."""
    return [(System(policy, RANDOM, n, main).name, policy) for policy in ("sft", "dpo")]


def contrast_triples(n: int, main: float,
                     temperatures: Sequence[float]) -> list[tuple[str, str, str]]:
    """(first, second, opponent): which of two systems wins more often against the same opponent.

    Exploratory. The paper compares such rates over different opponents.
    """
    sft, dpo = (System(policy, BEST, n, main).name for policy in ("sft", "dpo"))
    return [("dpo", "sft", "base"), (dpo, sft, "base"), (dpo, "dpo", "sft"),
            *((dpo, System("dpo", BEST, n, heat).name, "sft")
              for heat in sorted(set(temperatures) - {main}))]
