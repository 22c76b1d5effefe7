"""The study several times with other seeds: training and sampling again, the prompts the same.

Seed 0's run is the run folder itself; the others lie in `seeds/<seed>/` inside it. The spread of
win rates over seeds goes to seeds.json, beside the first run's own sampling interval, and notebook
05 shows it.
"""

from collections.abc import Sequence
from dataclasses import replace

from lib.analysis.comparisons.seeds import win_rates_over_seeds
from lib.runtime.files import Row, read_json, write_json
from lib.runtime.manifest import outputs_hash
from lib.runtime.progress import say
from lib.study.policies import load_systems
from lib.study.run import Study, stage_hash
from lib.study.stages.rewards import ROLES

FILE = "seeds.json"


def seed_runs(study: Study, seeds: int) -> list[Study]:
    """The study and its repetitions with the following seeds."""
    first = study.profile.seed
    return [study] + [replace(study, profile=replace(study.profile, seed=first + number),
                              folder=study.path("seeds", str(first + number)))
                      for number in range(1, seeds)]


def summarise_seeds(study: Study, studies: Sequence[Study]) -> None:
    """Write seeds.json: for every comparison the rate of each seed, their spread, one interval."""
    rates = read_json(study.path("results.json"))["win_rates"]
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in rates))
    rows = win_rates_over_seeds([load_systems(one) for one in studies], ROLES, pairs)
    single = {(row["a"], row["b"], row["judge"]): row for row in rates}
    rows = [row | _first(single[row["a"], row["b"], row["judge"]]) for row in rows]
    write_json(study.path(FILE), {"responses": {
        str(one.folder.relative_to(study.folder)): stage_hash(one, "responses")
        for one in studies}, "rows": rows})
    say(f"spread over {len(studies)} seeds: {study.path(FILE)}")


def known_seeds(study: Study) -> list[Row]:
    """The rows of seeds.json; none where one seed was run, or some seed's answers are others now.
    """
    path = study.path(FILE)
    if not path.exists():
        return []
    known = read_json(path)
    now = {run: outputs_hash(study.path(run, "responses")) for run in known["responses"]}
    return known["rows"] if now == known["responses"] else []


def _first(row: Row) -> Row:
    """The first seed's own rate and its interval over prompts alone."""
    return {"first": row["win_rate"], "first_low": row["ci_low"], "first_high": row["ci_high"]}
