"""The study several times with other seeds: training and sampling again, the prompts the same.

Seed 0's run is the run folder itself; the others lie in `seeds/<seed>/` inside it. The spread of
win rates over seeds goes to seeds.json, beside each run's own sampling interval.
"""

from collections.abc import Sequence
from dataclasses import replace

from lib.analysis.seeds import win_rates_over_seeds
from lib.runtime.files import write_json
from lib.runtime.progress import say
from lib.study.evaluate import comparisons
from lib.study.rerank import load_systems
from lib.study.reward_stage import ROLES
from lib.study.run import Study


def seed_runs(study: Study, seeds: int) -> list[Study]:
    """The study and its repetitions with the following seeds."""
    first = study.profile.seed
    return [study] + [replace(study, profile=replace(study.profile, seed=first + number),
                              folder=study.path("seeds", str(first + number)))
                      for number in range(1, seeds)]


def summarise_seeds(study: Study, studies: Sequence[Study]) -> None:
    """Write seeds.json: for every comparison the rate of each seed, their spread, one interval."""
    rows = win_rates_over_seeds([load_systems(one) for one in studies], ROLES, comparisons(study),
                                study.profile.evaluation.resamples, study.profile.seed)
    write_json(study.path("seeds.json"), rows)
    say(f"spread over {len(studies)} seeds: {study.path('seeds.json')}")
