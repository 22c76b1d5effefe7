"""Two runs compared: who answers better with the same system, on the same prompts, by one judge.

comparison.json holds what `python -m lib.study.compare` prints, compare.html the answers of both
runs in the viewer. No file of either run is written.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.analysis.comparisons.all_pairs import win_rates
from lib.analysis.comparisons.runs import (
    A,
    B,
    answer_alike,
    board_of_runs,
    gated,
    moved_by_draws,
    moved_by_pairs,
    system_of,
)
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.data.schema import prompt_text
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row, write_json
from lib.study.compare.settings import differing_settings
from lib.study.compare.sides import Shared, Side, Sides, shared_scores, two_sides
from lib.study.policies import POLICIES, system_at_main
from lib.study.run import StudyError
from lib.study.stages.data import load_part
from lib.viewers.page import write_page

Pair = tuple[str, str]
Compared = tuple[list[Row], dict[str, list[Row]], list[str]]


def compare_runs(a: Path, b: Path, out: Path, judge: str = "judge", rescore: str = "",
                 margin: float | None = None, systems: Sequence[str] = ()) -> Row:
    """Compare run b with run a and write comparison.json and compare.html into `out`.

    judge: judge, selector or reader; rescore: "a" or "b", whose judge scores all answers again;
    margin: of the gate, None for none; systems: the gated ones, else all at the main temperature.
    Raises StudyError where the runs cannot be compared.
    """
    sides, prompts = two_sides(a, b)
    pairs, main = system_pairs(sides)
    watched = _watched(systems, pairs, main)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        sides, shared = shared_scores(sides, rescore, Path(scratch))
    if shared[judge].why_not:
        raise StudyError(_refusal(judge, shared))
    compared = _by_reader if judge == OWN_READER else _by_all_pairs
    rows, moved, same = compared(sides, pairs, judge)
    unjudged = watched - {row["a"] for row in rows} - set(same)
    if margin is not None and unjudged:
        raise StudyError(f"the {judge} scored no answers of {', '.join(sorted(unjudged))} in both "
                         "runs, so the gate cannot say anything of it; name the others with "
                         "--systems")
    texts = {row["id"]: prompt_text(row) for row in sides[0].main_rows}
    found = {
        "a": sides[0].place, "b": sides[1].place, "prompts": prompts, "judge": judge,
        "scorers": {role: each.scorer or None for role, each in shared.items()},
        "settings": differing_settings(a, b), "win_rates": rows, "same_answers": same,
        "moved": {name: [row | {"prompt": texts[row["id"]]} for row in moves]
                  for name, moves in moved.items()}, "main": [pair[0] for pair in main],
        "reader": [] if not shared[OWN_READER].scorer else _by_reader(sides, pairs)[0],
        "why_no_reader": shared[OWN_READER].why_not,
        "gate": None if margin is None else gated(
            [row for row in rows if row["a"] in watched], margin)}
    write_json(out / "comparison.json", found)
    _write_page(sides, shared, main, out / "compare.html")
    return found


def system_pairs(sides: Sides) -> tuple[list[Pair], list[Pair]]:
    """(b's system, a's) for every system of both runs, and those of them at the main temperature.

    There a policy's Best-of-N is the same system whatever N and temperature the runs have; at other
    temperatures the name decides.
    """
    a, b = sides
    main = [(of_b, of_a) for of_b, of_a in zip(_main_systems(b), _main_systems(a), strict=True)
            if of_b in b.names and of_a in a.names]
    rest = [(name, name) for name in a.names if name in b.names
            and not any(name in pair for pair in main)]
    named = [[(system_of(B, of_b), system_of(A, of_a)) for of_b, of_a in pairs]
             for pairs in (main, rest)]
    return [*named[0], *named[1]], named[0]


def _main_systems(side: Side) -> list[str]:
    profile = side.study.profile
    return [*POLICIES, *(system_at_main(profile, policy).name for policy in POLICIES)]


def _watched(systems: Sequence[str], pairs: Sequence[Pair], main: Sequence[Pair]) -> set[str]:
    """The systems of run b that the gate is about; raises StudyError for one that it lacks."""
    known = [pair[0] for pair in pairs]
    if missing := [name for name in systems if system_of(B, name) not in known]:
        raise StudyError(f"the gate's system {missing[0]} is not in both runs; these are: "
                         + ", ".join(name.removeprefix(f"{B}: ") for name in known))
    watched = {system_of(B, name) for name in systems}
    return watched or {pair[0] for pair in main}


def _by_all_pairs(sides: Sides, pairs: Sequence[Pair], role: str) -> Compared:
    """Win-rate rows over all pairs of answers, each prompt's move, and who answers alike."""
    board = board_of_runs({side.name: side.board(role) for side in sides})
    same = [pair[0] for pair in pairs if answer_alike(board, *pair)]
    tested = [pair for pair in pairs if pair[0] not in same]
    return (win_rates(board, tested),
            {pair[0]: moved_by_pairs(board.matches(role, *pair), role) for pair in tested}, same)


def _by_reader(sides: Sides, pairs: Sequence[Pair], role: str = OWN_READER) -> Compared:
    """The same over one answer of each system, of which a reader has read some."""
    board = scoreboard({name: rows for side in sides for name, rows in side.systems().items()},
                       [role])
    same = [one for one, other in pairs
            if np.array_equal(board.texts[board.place(one)], board.texts[board.place(other)])]
    tested = [pair for pair in pairs if pair[0] not in same
              and not np.isnan(board.outcomes(role, *pair)).all()]
    return (round_robin(board, tested) if tested else [],
            {pair[0]: moved_by_draws(board, role, *pair) for pair in tested}, same)


def _refusal(judge: str, shared: Mapping[str, Shared]) -> str:
    remedy = {"judge": "; add --rescore a (or b) to score all answers again with that run's judge"
                       + ("" if shared[OWN_READER].why_not else ", or use --judge reader"),
              "selector": "; use --judge judge"}.get(judge, "")
    return f"{shared[judge].why_not}, so the runs cannot be compared by the {judge}{remedy}"


def _write_page(sides: Sides, shared: Mapping[str, Shared], main: Sequence[Pair],
                path: Path) -> Path:
    """The answers of both runs in the viewer; scores that are not one scorer's keep their run's."""
    systems = {name: _labelled(rows, side.name, shared)
               for side in sides for name, rows in side.systems().items()}
    found = {name for rows in systems.values() for row in rows for each in row["candidates"]
             for name in each["rewards"]}
    judges = [name for role in ("judge", OWN_READER)
              for name in (role, f"{A}: {role}", f"{B}: {role}") if name in found]
    right, left = main[-1]
    return write_page(systems, path, load_part(sides[0].study, "heldout"), judges,
                      f"{sides[0].place} and {sides[1].place}", left, right)


def _labelled(rows: Sequence[Row], side: str, shared: Mapping[str, Shared]) -> list[Row]:
    return [row | {"candidates": [each | {"rewards": {
        name if shared[name].scorer else f"{side}: {name}": score
        for name, score in each["rewards"].items()}} for each in row["candidates"]]}
        for row in rows]
