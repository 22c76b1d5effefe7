"""Blind votes on disk: one JSON object a line, appended, never rewritten.

An append in a single write survives a kill after the click, and two tabs or processes cannot
overwrite each other. An undone vote is a further line (`undo`). The page's downloads have the same
lines and may lie in the same folder. A damaged line (a full disk, a hand edit) is reported and
skipped.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Any

from lib.runtime.files import append_jsonl
from lib.runtime.progress import say

VERSION = 1
VERDICTS = {"left": "A is better", "right": "B is better", "tie": "Tie", "both bad": "Both are bad"}
UNDO = "undo"


@dataclass(frozen=True)
class Vote:
    """One vote: the systems shown left and right, and a key of VERDICTS (or UNDO)."""

    id: str
    left: str
    right: str
    vote: str
    rater: str = ""
    seed: int = 0
    seconds: float = 0.0
    note: str = ""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    version: int = VERSION


def append_vote(path: Path | str, vote: Vote) -> None:
    """Append one vote; raises FileError when it cannot be written."""
    _end_last_line(Path(path))
    append_jsonl(path, asdict(vote))


def _end_last_line(path: Path) -> None:
    """End an incomplete last line, so that the next vote is a line of its own."""
    if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def read_votes(path: Path | str, report: Callable[[str], None] = say) -> list[Vote]:
    """All votes, oldest first; `report` gets a sentence about each damaged line.

    It reads every file whose name begins like `path`'s, because the browser calls the page's second
    download `votes (1).jsonl`, and counts each vote once.
    """
    path = Path(path)
    files = sorted(path.parent.glob(f"{escape(path.stem)}*{path.suffix}"))
    votes = dict.fromkeys(vote for file in files for vote in _votes_in(file, report))
    return sorted(votes, key=lambda vote: vote.time[:len("2026-01-01T00:00:00.000")])


def _votes_in(path: Path, report: Callable[[str], None]) -> Iterator[Vote]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            yield parse_vote(json.loads(line.decode("utf-8")))
        except (ValueError, TypeError) as error:
            report(f"{path}, line {number} is no vote and was skipped: {error}")


def parse_vote(fields: Mapping[str, Any]) -> Vote:
    """The vote with these fields; raises ValueError or TypeError for anything else."""
    vote = Vote(**fields)
    if vote.vote not in (*VERDICTS, UNDO):
        raise ValueError(f"vote is {vote.vote!r}, expected one of {', '.join((*VERDICTS, UNDO))}")
    hash(vote)  # raises TypeError for a list among the fields
    return vote
