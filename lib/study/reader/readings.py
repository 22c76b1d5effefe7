"""A reader's scores: taken in with checks, kept by text, put beside the run's answers.

RUN/reader/scores.jsonl has a line for each answer and reader; provenance.json says who read. A
second reader measures the first (`reliability`): beside an answer stands the score of its reader
who came first to scores.jsonl. Two readers' scales differ, so that answers to a prompt are compared
by one reader who read them (`lib.analysis.comparisons.scoreboard.one_reader`).

Blind votes (RUN/votes/) stay apart: a vote orders two answers of two named systems, without a
scale, so that it can be no score of either; the viewer counts votes beside judge and selector.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.inference.rewards import OWN_READER
from lib.runtime.files import (
    FileError,
    Row,
    parse_jsonl,
    read_json,
    read_jsonl,
    sha256_of,
    sha256_of_value,
    shown,
    write_json,
    write_jsonl,
)
from lib.study.reader.rubric import HIGHEST, LOWEST, STEP

FIRST, SECOND = "batch", "second"  # how the names of batches begin
NAMED = 5  # keys that a message names
Scores = dict[tuple[str, str], dict[str, float]]  # prompt id, stripped text -> reader -> score


@dataclass(frozen=True)
class Reading:
    """One reader's score of one answer, 1 to 10 in halves."""

    key: str
    score: float
    reader: str
    flaws: tuple[str, ...] = ()


def import_scores(run: Path, files: Sequence[Path], kind: str, reader: str = "",
                  partial: bool = False, blind: bool = True) -> Row:
    """Add the files' scores to those of the run; returns provenance.json.

    kind: person or model; reader: the name on lines without one; partial: allow answers that no
    one has read. Raises FileError, without a change, for a damaged line, an unknown key, a score
    off the scale, two scores of one reader for one answer, and, unless `partial`, for a gap.
    """
    plan, known = _plan(run), known_answers(run)
    new = [reading for file in files for reading in _readings_in(file, reader)]
    if unknown := [reading.key for reading in new if reading.key not in known]:
        raise FileError(f"{_some(unknown)} {'is' if len(unknown) == 1 else 'are'} no key of an "
                        f"answer of {shown(run)}; import scores of a batch that was exported there")
    readings = _joined([*read_readings(run), *new])
    missing = missing_keys(plan, readings)
    if any(missing.values()) and not partial:
        raise FileError("; ".join(f"{name} lacks {len(keys)} ({_some(keys)})"
                                  for name, keys in missing.items() if keys)
                        + "; read these answers too, those of one prompt by one reader, or import "
                        "with --partial")
    write_jsonl(run / "reader" / "scores.jsonl",
                [_line(reading, known[reading.key]) for reading in readings])
    provenance = _provenance(run, plan, readings, new, files, kind, blind)
    write_json(run / "reader" / "provenance.json", provenance)
    return provenance


def missing_keys(plan: Row, readings: Sequence[Reading]) -> dict[str, list[str]]:
    """Batch -> its answers that lack a reader, or, in a second batch, another reader."""
    lacking = {name: unread(keys, plan.get("pairs", ()), readings, 1 + name.startswith(SECOND))
               for name, keys in plan["batches"].items()}
    return {name: [key for key in keys if key in lacking[name]]
            for name, keys in plan["batches"].items()}


def unread(keys: Sequence[str], pairs: Iterable[Sequence[str]], readings: Sequence[Reading],
           times: int) -> set[str]:
    """Those of `keys` that lack readers: an answer needs `times`, and a pair as many who read both.

    Of a pair that lacks one both are unread; a pair counts where `keys` has both.
    """
    known: dict[str, set[str]] = {}
    for reading in readings:
        known.setdefault(reading.reader, set()).add(reading.key)
    asked = set(keys)
    units = [{key} for key in keys] + [set(pair) for pair in pairs if asked.issuperset(pair)]
    return {key for unit in units if sum(unit <= read for read in known.values()) < times
            for key in unit}


def read_readings(run: Path) -> list[Reading]:
    """The readings of a run, in the order in which they were imported; none without a file."""
    return [Reading(row["key"], row["score"], row["reader"], tuple(row["flaws"]))
            for row in _rows(run / "reader" / "scores.jsonl")]


def is_complete(run: Path) -> bool:
    """Whether every answer that was asked for has its readers."""
    return not any(missing_keys(_plan(run), read_readings(run)).values())


def readers_of(run: Path) -> list[Row]:
    """Who read: {"reader", "kind", "blind", "when", "rubric_sha256", "files", "n"} for each."""
    path = run / "reader" / "provenance.json"
    return read_json(path)["readers"] if path.exists() else []


def arms_asked(run: Path) -> dict[str, int]:
    """The arms of notebook 06 that were exported, and about how many prompts a reader was asked."""
    path = run / "reader" / "export.json"
    return read_json(path).get("arms", {}) if path.exists() else {}


def known_answers(run: Path) -> dict[str, Row]:
    """Key -> {"key", "id", "text"} of every answer that was ever exported."""
    return {row["key"]: row for row in _rows(run / "reader" / "answers.jsonl")}


def scores_hash(run: Path) -> str:
    """Hash of the readings, an input of whatever shows them; "absent" without any."""
    path = run / "reader" / "scores.jsonl"
    return sha256_of(path) if path.exists() else "absent"


def with_readings(run: Path, rows: Sequence[Row]) -> list[Row]:
    """Response rows `with_scores` of all readers; those of a run that no one has read unchanged."""
    scores = scores_of(run)
    return with_scores(rows, scores) if scores else list(rows)


def scores_of(run: Path, reader: str = "") -> Scores:
    """The scores of each answer by all readers, in the order of their imports, or by `reader`."""
    scores: Scores = {}
    lines = _rows(run / "reader" / "scores.jsonl")
    order = list(dict.fromkeys(line["reader"] for line in lines))
    for line in sorted(lines, key=lambda line: order.index(line["reader"])):
        if line["reader"] == (reader or line["reader"]):
            scores.setdefault((line["id"], line["text"]), {})[line["reader"]] = line["score"]
    return scores


def with_scores(rows: Sequence[Row], scores: Scores) -> list[Row]:
    """Response rows whose candidates have `readings` (reader -> score) and the first in `rewards`.

    What no one has read has {} and None.
    """
    return [row | {"candidates": [_scored(each, scores.get((row["id"], each["text"].strip()), {}))
                                  for each in row["candidates"]]} for row in rows]


def _scored(candidate: Row, readings: Mapping[str, float]) -> Row:
    return candidate | {"readings": dict(readings), "rewards": candidate.get("rewards", {}) | {
        OWN_READER: next(iter(readings.values()), None)}}


def scores_in(file: Path) -> Iterator[tuple[str, float | str]]:
    """(key, score) of each filled line of a template, whatever its worth."""
    for row in _raw_rows(file):
        if (score := _given(row)) is not None:
            try:
                yield str(row.get("key")), float(score)
            except (TypeError, ValueError):
                yield str(row.get("key")), str(score)


def _rows(path: Path) -> list[Row]:
    return read_jsonl(path) if path.exists() else []


def _plan(run: Path) -> Row:
    path = run / "reader" / "export.json"
    if not path.exists():
        raise FileError(f"{shown(run)} has no batches; write them first with python -m "
                        f"lib.study.reader export {shown(run)}")
    return read_json(path)


def _readings_in(file: Path, reader: str) -> Iterator[Reading]:
    """The readings of one file; a line without a score is an answer that is still to be read."""
    for number, row in enumerate(_raw_rows(file), start=1):
        if _given(row) is not None:
            yield _reading(row, reader, f"{shown(file)}, score {number}")


def _raw_rows(file: Path) -> list[Row]:
    """The rows of a score file, each with a key and a score, which may be empty."""
    rows = _parsed(file)
    for row in rows:
        if not {"key", "score"} <= row.keys():
            raise FileError(f"{shown(file)} has {', '.join(map(str, row)) or 'nothing'}; expected "
                            "key, score and reader on every line, with commas in CSV")
    return rows


def _parsed(file: Path) -> list[Row]:
    """The rows of a file by its suffix: CSV, JSON (a list), or else JSON Lines."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {file}: {error}") from error
    if file.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    if file.suffix != ".json":
        return parse_jsonl(text.split("\n"), file)  # other line ends may stand inside a text
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{file}, line {error.lineno}: not valid JSON ({error.msg})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileError(f'{file} holds no list of objects; write [{{"key": ..., "score": ...}}]')
    return rows


def _given(row: Mapping[str, Any]) -> Any:
    score = row.get("score")
    return None if isinstance(score, str) and not score.strip() else score


def _reading(row: Row, reader: str, where: str) -> Reading:
    name = str(row.get("reader") or reader).strip()
    if not name:
        raise FileError(f"{where} has no reader; write the reader's name on each line, or give it "
                        "with --reader")
    flaws = row.get("flaws") or ()
    if isinstance(flaws, str):
        flaws = [flaw.strip() for flaw in flaws.split(";") if flaw.strip()]
    return Reading(str(row.get("key") or "").strip(), _score(row["score"], where), name,
                   tuple(map(str, flaws)))


def _score(given: Any, where: str) -> float:
    """A score on the scale; raises FileError for anything else."""
    try:
        score = float("nan") if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        score = float("nan")
    if not (LOWEST <= score <= HIGHEST and (score / STEP).is_integer()):
        raise FileError(f"{where} is {given!r}; use {LOWEST:g} to {HIGHEST:g} in steps of {STEP:g}")
    return score


def _joined(readings: Sequence[Reading]) -> list[Reading]:
    """One reading for each answer and reader, oldest first; raises FileError for two scores."""
    kept: dict[tuple[str, str], Reading] = {}
    for reading in readings:
        first = kept.setdefault((reading.key, reading.reader), reading)
        if first.score != reading.score:
            raise FileError(f"{reading.reader} scores answer {reading.key} twice, "
                            f"{first.score:g} and {reading.score:g}; keep one of the two "
                            "lines, and leave second_* batches to another reader, as well as "
                            "batches with answers that this one has read before")
    return list(kept.values())


def _line(reading: Reading, answer: Row) -> Row:
    return {"id": answer["id"], "text_sha256": sha256_of_value(answer["text"])} | asdict(
        reading) | {"text": answer["text"]}


def _provenance(run: Path, plan: Row, readings: Sequence[Reading], new: Sequence[Reading],
                files: Sequence[Path], kind: str, blind: bool) -> Row:
    """Who read, how and when: a line for each reader, the latest import last."""
    readers = {row["reader"]: row for row in readers_of(run)}
    for name in dict.fromkeys(reading.reader for reading in new):
        readers[name] = {
            "reader": name, "kind": kind, "blind": blind,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "rubric_sha256": plan["rubric_sha256"],
            "files": [{"name": file.name, "sha256": sha256_of(file)} for file in files]}
    counts = Counter(reading.reader for reading in readings)
    return {"readers": [row | {"n": counts[name]} for name, row in readers.items()],
            "prompts": plan["prompts"], "answers": plan["answers"],
            "read": len({reading.key for reading in readings} & plan["wanted"].keys()),
            "missing": sum(map(len, missing_keys(plan, readings).values()))}


def _some(keys: Sequence[str]) -> str:
    rest = len(keys) - NAMED
    return ", ".join(keys[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
