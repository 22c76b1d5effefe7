"""Two readers of the same answers: how far a score depends on who read."""

from collections.abc import Sequence
from pathlib import Path

from lib.analysis.judges.reliability import reliability
from lib.runtime.files import Row
from lib.study.reader.readings import Reading, known_answers, read_readings


def reliability_rows(run: Path) -> list[Row]:
    """`reliability` of first and second readings of a run's answers, with who gave them.

    One row {"first", "second"} (names) and the keys of `reliability`; none if no answer has two
    readers. Answers to a prompt are compared where both readers are the same.
    """
    pairs = _pairs(read_readings(run))
    if not pairs:
        return []
    prompts = known_answers(run)
    firsts, seconds = zip(*pairs, strict=True)
    return [{"first": _names(firsts), "second": _names(seconds)} | reliability(
        [each.score for each in firsts], [each.score for each in seconds],
        [f"{prompts[one.key]['id']}\n{one.reader}\n{other.reader}" for one, other in pairs]) | {
            "prompts": len({prompts[each.key]["id"] for each in firsts})}]


def _pairs(readings: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """The first two readings of every answer that has two."""
    by_key: dict[str, list[Reading]] = {}
    for reading in readings:
        by_key.setdefault(reading.key, []).append(reading)
    return [(each[0], each[1]) for each in by_key.values() if len(each) > 1]


def _names(readings: Sequence[Reading]) -> list[str]:
    return sorted({reading.reader for reading in readings})
