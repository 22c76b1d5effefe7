"""Two runs made comparable: the prompts that both answered, each judge's scores if they are one's.

A score role (selector, judge, reader) is shared where the same model or reader scored both runs;
only then may scores of one run meet those of the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lib.analysis.comparisons.candidates import CandidateBoard, candidate_board
from lib.analysis.comparisons.runs import A, B, system_of
from lib.data.schema import prompt_text
from lib.inference.rewards import OWN_READER
from lib.inference.systems import RANDOM
from lib.runtime.files import Row, read_json, shown
from lib.study.compare.judges import judge_identity, judge_model, other_references, scored_again
from lib.study.compare.recorded import recorded_study
from lib.study.policies import Pools, load_pools, picked_rows, systems_by_pool
from lib.study.reader.readings import Scores, readers_of, scores_of, with_scores
from lib.study.run import Study, StudyError

LEGIBLE = 64  # characters of a judge's identity in a sentence


@dataclass(frozen=True)
class Side:
    """One run: pools on the shared prompts, under shared ids; ids: its own id -> the shared one."""

    name: str
    study: Study
    pools: Pools
    ids: Mapping[str, str]

    @property
    def place(self) -> str:
        """Its folder as messages show it."""
        return str(shown(self.study.folder))

    @property
    def main_rows(self) -> list[Row]:
        """The rows of the pool with the most prompts."""
        return max(self.pools.values(), key=len)

    @property
    def names(self) -> list[str]:
        """Its systems, without the random controls."""
        return [system.name for pool, systems in systems_by_pool(self.study.profile).items()
                if pool in self.pools for system in systems if system.rule != RANDOM]

    def board(self, role: str) -> CandidateBoard:
        """All its candidates, with one role's scores."""
        return candidate_board({pool.key: rows for pool, rows in self.pools.items()}, (role,),
                               self.study.profile.sampling.temperature)

    def systems(self) -> dict[str, list[Row]]:
        """Its systems' single answers by name (`b: dpo`)."""
        picks = read_json(self.study.path("responses", "picks.json"))
        return {system_of(self.name, system.name): picked_rows(system, self.pools[pool], {
                    self.ids[own]: pick for own, pick in picks[system.name].items()
                    if own in self.ids})
                for pool, systems in systems_by_pool(self.study.profile).items()
                if pool in self.pools for system in systems}

    def changed(self, change: Callable[[list[Row]], list[Row]]) -> "Side":
        """The same run with every pool's rows changed."""
        return replace(self, pools={pool: change(rows) for pool, rows in self.pools.items()})


Sides = tuple[Side, Side]


@dataclass(frozen=True)
class Shared:
    """Whether one scorer scored both runs in a role: its name, or why there is none."""

    scorer: str = ""
    why_not: str = ""


def two_sides(a: Path, b: Path) -> tuple[Sides, Row]:
    """The runs on the prompts that both answered, and {"shared", "only_a", "only_b"}, counts.

    Prompts are the same where their texts are; ids are those of `a`. Raises StudyError for a run
    without answers, and where no prompt is in both.
    """
    studies = [recorded_study(run) for run in (a, b)]
    pools = [load_pools(study) for study in studies]
    first, second = (_ids_by_text(each) for each in pools)
    texts = [text for text in first if text in second]
    if not texts:
        raise StudyError(f"{shown(a)} and {shown(b)} answered no prompt in common, so nothing can "
                         "be compared; compare runs with the same held-out prompts")
    ids = [{own[text]: first[text] for text in texts} for own in (first, second)]
    one, other = (Side(name, study, own, known) for name, study, own, known in zip(
        (A, B), studies, map(_under_shared_ids, pools, ids), ids, strict=True))
    return (one, other), {"shared": len(texts), "only_a": len(first) - len(texts),
                          "only_b": len(second) - len(texts)}


def _ids_by_text(pools: Pools) -> dict[str, str]:
    """Each prompt's id; of equal prompts the first counts."""
    ids: dict[str, str] = {}
    for row in (row for rows in pools.values() for row in rows):
        ids.setdefault(prompt_text(row), row["id"])
    return ids


def _under_shared_ids(pools: Pools, ids: Mapping[str, str]) -> Pools:
    kept = {pool: [row | {"id": ids[row["id"]]} for row in rows if row["id"] in ids]
            for pool, rows in pools.items()}
    return {pool: rows for pool, rows in kept.items() if rows}


def shared_scores(sides: Sides, rescore: str, scratch: Path) -> tuple[Sides, dict[str, Shared]]:
    """The sides with comparable scores where there are any, and each role's scorer.

    rescore: "a" or "b", whose judge scores all answers again; empty for none.
    """
    if rescore:
        sides, judge = _rescored(sides, rescore, scratch)
    else:
        judge = _scorer(sides, "judge", scratch)
    sides, reader = _one_reader(sides)
    return sides, {"judge": judge, "selector": _scorer(sides, "selector", scratch),
                   OWN_READER: reader}


def _scorer(sides: Sides, role: str, scratch: Path) -> Shared:
    try:
        first, second = (judge_identity(side.study, role, side.main_rows, scratch / side.name)
                         for side in sides)
    except ValueError as error:
        return Shared(why_not=str(error))
    a, b = sides
    if first != second:
        return Shared(why_not=f"{a.place} and {b.place} were scored by different {role}s "
                              f"({first[:LEGIBLE]} and {second[:LEGIBLE]})")
    prompts = [prompt_text(row) for row in a.main_rows]
    if role == "judge" and (other := other_references(a.study, b.study, prompts)):
        return Shared(why_not=f"{len(other)} of {len(prompts)} prompts have another written answer "
                              f"in {a.place} than in {b.place}, with which the judge compares")
    return Shared(first)


def _rescored(sides: Sides, rescore: str, scratch: Path) -> tuple[Sides, Shared]:
    owner = next(side for side in sides if side.name == rescore)
    model = judge_model(owner.study, "judge", scratch / owner.name)
    a, b = (side.changed(lambda rows: scored_again(rows, "judge", model)) for side in sides)
    return (a, b), Shared(f"{getattr(model, 'identity', model.name)} of {owner.place}, all answers "
                          "scored again")


def _one_reader(sides: Sides) -> tuple[Sides, Shared]:
    """The scores of the one reader who read most in both runs; a text has one score in both."""
    known = [{(row["reader"], row["rubric_sha256"]): row["n"]
              for row in readers_of(side.study.folder)} for side in sides]
    if missing := [side.place for side, readers in zip(sides, known, strict=True) if not readers]:
        return sides, Shared(why_not=f"no one has read the answers of {' and '.join(missing)}")
    both = known[0].keys() & known[1].keys()
    if not both:
        names = [", ".join(name for name, _ in readers) for readers in known]
        return sides, Shared(why_not=f"{sides[0].place} was read by {names[0]}, {sides[1].place} "
                                     f"by {names[1]}, and two readers' scales differ")
    reader = max(both, key=lambda each: min(readers[each] for readers in known))[0]
    scores: Scores = {}
    for side in reversed(sides):
        scores |= {(side.ids[prompt], text): score for (prompt, text), score in scores_of(
            side.study.folder, reader).items() if prompt in side.ids}
    a, b = (side.changed(lambda rows: with_scores(rows, scores)) for side in sides)
    return (a, b), Shared(reader)
