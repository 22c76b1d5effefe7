"""Blind votes on disk: one JSON object a line, appended, never rewritten.

An append in a single write survives a kill after the click, and two tabs or processes cannot
overwrite each other. What a rater takes back is a further line (`undo`). The page's downloads have
the same lines. A damaged line (a full disk, a hand edit) is reported and passed over.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib.analysis.statistics.agreement import agreement
from lib.analysis.statistics.intervals import score_interval
from lib.runtime.files import append_jsonl
from lib.runtime.progress import say

VERSION = 1
VERDICTS = {"left": "A is better", "right": "B is better", "tie": "Tie", "both bad": "Both are bad"}
UNDO = "undo"
ENOUGH = 20  # votes before a rater sees results: earlier ones say nothing and would steer the next


@dataclass(frozen=True)
class Vote:
    """One verdict: the systems that stood left and right, and a key of VERDICTS (or UNDO)."""

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

    def winner(self) -> str:
        """The system that won, or `tie`; both bad is a tie."""
        return {"left": self.left, "right": self.right}.get(self.vote, "tie")


def append_vote(path: Path | str, vote: Vote) -> None:
    """Append one vote; raises FileError when it cannot be written."""
    _end_last_line(Path(path))
    append_jsonl(path, asdict(vote))


def _end_last_line(path: Path) -> None:
    """A line that was cut off must not swallow the next vote."""
    if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def read_votes(path: Path | str, report: Callable[[str], None] = say) -> list[Vote]:
    """All votes in the file, none if there is no file; damaged lines go to `report`."""
    path = Path(path)
    if not path.exists():
        return []
    votes = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            votes.append(_parse(line))
        except (ValueError, TypeError) as error:
            report(f"{path}, line {number} is no vote and was passed over: {error}")
    return votes


def _parse(line: bytes) -> Vote:
    vote = Vote(**json.loads(line.decode("utf-8")))
    if vote.vote not in (*VERDICTS, UNDO):
        raise ValueError(f"vote is {vote.vote!r}, expected one of {', '.join((*VERDICTS, UNDO))}")
    return vote


def last_votes(votes: Iterable[Vote], rater: str, a: str, b: str) -> dict[str, Vote]:
    """Prompt id -> the rater's last vote on this pair of systems, on whichever side they stood."""
    last: dict[str, Vote] = {}
    for vote in votes:
        if vote.rater == rater and {vote.left, vote.right} == {a, b}:
            last.pop(vote.id, None)  # so that the order of the dict is the order of voting
            if vote.vote != UNDO:
                last[vote.id] = vote
    return last


@dataclass(frozen=True)
class HumanResult:
    """What one rater says of a against b: a tie counts half, the report's 95 % interval."""

    n: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    low: float
    high: float


def human_result(votes: Mapping[str, Vote], a: str) -> HumanResult:
    """Win rate of a; raises ValueError for no votes."""
    winners = [vote.winner() for vote in votes.values()]
    wins, ties, n = winners.count(a), winners.count("tie"), len(winners)
    losses = n - wins - ties
    if n == 0:
        raise ValueError("there are no votes yet; a win rate needs at least one")
    low, high = score_interval(wins, ties, losses)
    return HumanResult(n, wins, ties, losses, (wins + ties / 2) / n, float(low), float(high))


@dataclass(frozen=True)
class JudgeAgreement:
    """How often a judge names the rater's winner, and kappa beyond chance, on n common prompts."""

    n: int
    share: float
    kappa: float


def agreement_with(
    votes: Mapping[str, Vote], winners: Mapping[str, str | None]
) -> JudgeAgreement | None:
    """Compare with a judge's winners by prompt id (None: not scored); None without a common one."""
    ids = [id for id in votes if winners.get(id)]
    if not ids:
        return None
    found = agreement([votes[id].winner() for id in ids], [winners[id] for id in ids])
    return JudgeAgreement(found.n, found.agreement, found.kappa)
