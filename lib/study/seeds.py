"""The study repeated with other seeds for training and sampling, on the same prompts.

The first seed's run is the run folder itself; the others are its subfolders `seeds/<seed>/`.
seeds.json holds the spread of win rates over seeds, for notebooks 05 and 07.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lib.analysis.comparisons.seeds import win_rates_over_seeds
from lib.runtime.files import Row, read_json, write_json
from lib.runtime.manifest import outputs_hash
from lib.runtime.progress import say
from lib.study.policies import load_candidates
from lib.study.run import Study, stage_hash

FILE = "seeds.json"


def seed_runs(study: Study, seeds: int) -> list[Study]:
    """The study, and its repetitions with the next seeds, which take from those of `from_run`."""
    first = study.profile.seed
    return [study, *(_repetition(study, first + number) for number in range(1, seeds))]


def _repetition(study: Study, seed: int) -> Study:
    own = Path("seeds", str(seed))
    source = study.from_run / own if study.from_run else None
    return replace(study, profile=replace(study.profile, seed=seed), folder=study.folder / own,
                   from_run=source if source and source.is_dir() else None)


def summarise_seeds(study: Study, studies: Sequence[Study]) -> None:
    """Write seeds.json: each comparison's rates by seed, their spread, and the first interval."""
    rates = read_json(study.path("results.json"))["win_rates"]
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in rates))
    rows = win_rates_over_seeds([load_candidates(one) for one in studies], pairs)
    single = {(row["a"], row["b"], row["judge"]): row for row in rates}
    rows = [row | _first(single[row["a"], row["b"], row["judge"]]) for row in rows]
    answers = {one.folder.relative_to(study.folder).as_posix(): stage_hash(one, "responses")
               for one in studies}
    write_json(study.path(FILE), {"answers": answers, "rows": rows})
    say(f"spread over {len(studies)} seeds: {study.path(FILE)}")


def known_seeds(study: Study) -> list[Row]:
    """The rows of seeds.json; none after a single seed, or if a run's answers have changed.

    The runs of the other seeds may have been deleted.
    """
    path = study.path(FILE)
    known = read_json(path) if path.exists() else {}
    current = known.get("answers") and all(
        outputs_hash(study.path(run, "responses")) in (answers, "absent")
        for run, answers in known["answers"].items())
    return known["rows"] if current else []


def _first(row: Row) -> Row:
    """The first seed's rate and its interval over prompts."""
    return {"first": row["win_rate"], "first_low": row["ci_low"], "first_high": row["ci_high"]}
