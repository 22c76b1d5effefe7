"""A recorded run's readings as data: the scores with the texts, and at last whose answers they are.

data/sample/readings.jsonl has a line a prompt, in the manner of audit.jsonl: its answers with the
systems that gave them, the scores of the run's judges, and each reader's. readings.json beside it
says who read, and which run. Nothing may be fitted or chosen on them.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.data.sources import SAMPLE
from lib.runtime.files import (
    FileError,
    Row,
    read_json,
    read_jsonl,
    sha256_of,
    shown,
    write_json,
    write_jsonl,
)
from lib.study.reader.questions import answers_of, key_of
from lib.study.reader.readings import Reading, arms_asked, is_complete, read_readings


def ship_readings(run: Path, folder: Path = SAMPLE, replace: bool = False) -> Path:
    """Write readings.jsonl and readings.json of a run that was read to the end; returns the first.

    Raises FileError for any other run, and for other readings in the folder, unless `replace` says
    that they may go.
    """
    if not is_complete(run):
        raise FileError(f"{shown(run)} was not read to the end; import all scores first")
    path, rows = folder / "readings.jsonl", _prompts(run, read_readings(run))
    if not replace and path.exists() and read_jsonl(path) != rows:
        raise FileError(f"{shown(path)} holds other readings{_whose(folder)}; keep a copy of it "
                        "and of readings.json, if git has none, and ship with --replace")
    write_jsonl(path, rows)
    write_json(folder / "readings.json", read_json(run / "reader" / "provenance.json") | {
        "file": path.name, "sha256": sha256_of(path), "prompts": len(rows),
        "answers": sum(len(row["answers"]) for row in rows),
        "run": read_json(run / "responses" / "manifest.json")["git"]})
    return path


def _whose(folder: Path) -> str:
    """How many answers the folder's readings are of, and who read them, for the error."""
    about = folder / "readings.json"
    if not about.exists():
        return ""
    known = read_json(about)
    readers = ", ".join(reader["reader"] for reader in known.get("readers", ()))
    return f" ({known.get('answers', 'some')} answers, read by {readers or 'nobody named'})"


def _prompts(run: Path, readings: Sequence[Reading]) -> list[Row]:
    """The read prompts with their read answers, each once, best first by its first reader."""
    scores: dict[str, list[Reading]] = {}
    for reading in readings:
        scores.setdefault(reading.key, []).append(reading)
    prompts: dict[str, Row] = {}
    answers: dict[str, Row] = {}
    for system, row, answer in answers_of(run, sorted(arms_asked(run))):
        key = key_of(row["id"], answer["text"])
        if key in answers:
            answers[key]["systems"].append(system)
        elif key in scores:
            answers[key] = _answer(system, answer, scores[key])
            prompts.setdefault(row["id"], {"id": row["id"], "prompt": row["prompt"],
                                           "source": row["source"], "answers": []})
            prompts[row["id"]]["answers"].append(answers[key])
    return [row | {"answers": sorted(row["answers"], key=lambda each: -each["readings"][0][
        "score"])} for row in prompts.values()]


def _answer(system: str, answer: Row, readings: Sequence[Reading]) -> Row:
    return {"text": answer["text"], "systems": [system], "rewards": answer["rewards"],
            "readings": [{"reader": reading.reader, "score": reading.score,
                          "flaws": list(reading.flaws)} for reading in readings]}
