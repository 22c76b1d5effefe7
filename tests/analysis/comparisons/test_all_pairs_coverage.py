"""Simulated coverage of the interval of all pairs, for every kind of comparison in the family.

A world says how two policies' answers are drawn and scored. Its true rates come from 40,000
prompts: their error, under a tenth of a study's, moves the coverage by .001.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from lib.analysis.comparisons.candidates import CandidateBoard, Candidates
from lib.analysis.statistics.clusters import clustered_share_interval
from lib.analysis.statistics.significance import share_test

KINDS = {"single": ("dpo", "sft"), "best over single": ("dpo+bon4@0.6", "sft"),
         "best over best": ("dpo+bon4@0.6", "sft+bon4@0.6"), "own pool": ("dpo+bon4@0.6", "dpo")}
CANDIDATES, TRUE, CHUNK = 8, 40_000, 10_000  # prompts of the truth, and at a time
SHARED, OWN = 0.85, 0.53  # of selector and judge, so that their scores correlate at .72


@dataclass(frozen=True)
class World:
    """lead: of the first policy; repeats: the chance that an answer is the prompt's commonest one;
    floor: the judge's lowest score; unlike: spread over prompts of the lead; opponents: K of b.
    """

    lead: float = 0.25
    repeats: float = 0.0
    floor: float = -9.0
    unlike: float = 0.3
    opponents: int = CANDIDATES


WORLDS = {"warm": World(), "cold": World(repeats=0.6), "floor": World(floor=0.0),
          "far ahead": World(lead=1.5), "unlike prompts": World(unlike=1.0),
          "fewer opponents": World(opponents=4)}


def pool(random: np.random.Generator, world: World, prompts: int, level: np.ndarray,
         number: int, size: int) -> Candidates:
    """Scores of selector and judge; a repeated answer has one text and the same scores."""
    places = np.arange(size)
    answer = np.where(random.random((prompts, size)) < world.repeats, 0, places)
    shared, *own = (np.take_along_axis(random.normal(size=(prompts, size)), answer, 1)
                    for _ in range(3))
    selector, judge = (level[:, None] + 0.8 * (SHARED * shared + OWN * part) for part in own)
    empty = np.ones((prompts, size))
    return Candidates(tuple(map(str, range(prompts))), ("",) * prompts,
                      {"selector": selector, "judge": np.maximum(judge, world.floor)},
                      (answer + number * size).astype(object), empty, empty)


def rates(random: np.random.Generator, world: World, kind: str, prompts: int) -> np.ndarray:
    """The judge's win rate on each of many prompts."""
    common, found = random.normal(size=prompts), []
    for level in np.array_split(common, max(1, prompts // CHUNK)):
        ahead = level + random.normal(world.lead, world.unlike, len(level))
        pools = {("dpo", 0.6): pool(random, world, len(level), ahead, 0, CANDIDATES),
                 ("sft", 0.6): pool(random, world, len(level), level, 1, world.opponents)}
        found.append(CandidateBoard(pools, ("judge",), 0.6).matches("judge", *KINDS[kind]).values)
    return np.concatenate(found)


def coverage(world: World, kind: str, n: int, repetitions: int) -> float:
    """Share of repeated studies of n prompts whose 95 % interval holds the true rate."""
    random = np.random.default_rng([n, len(kind), repetitions])
    truth = rates(random, world, kind, TRUE).mean()
    studies = rates(random, world, kind, n * repetitions).reshape(repetitions, n)
    ends = np.array([clustered_share_interval(study) for study in studies])
    assert share_test(studies[0])[:2] == tuple(ends[0])
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_covers_where_answers_repeat_and_scores_have_a_floor(kind: str) -> None:
    found = coverage(World(repeats=0.5, floor=0.0), kind, 64, 300)
    assert 0.91 <= found <= 0.99  # .95, and three Monte-Carlo errors of .0126


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", WORLDS)
def test_the_interval_covers_93_to_97_percent_in_every_world(world: str, kind: str) -> None:
    for n in (64, 200):
        found = coverage(WORLDS[world], kind, n, 2000)
        assert 0.93 - 0.005 <= found <= 0.97 + 0.005, n  # one Monte-Carlo error is .0049
