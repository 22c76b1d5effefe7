"""Two readers of the same answers: how far a score depends on who read."""

from collections.abc import Sequence
from pathlib import Path

from lib.analysis.judges.reliability import reliability
from lib.analysis.tables.formatting import interval_of, markdown_table
from lib.runtime.files import Row
from lib.study.reader.readings import Reading, known_answers, read_readings

NOT_TWICE = ("No answer has two readers; give second_*.md of the batches to another reader and "
             "import the scores.")


def reliability_rows(run: Path) -> list[Row]:
    """`reliability` of first and second readings of a run's answers, with who gave them.

    One row {"first", "second"} (names) and the keys of `reliability`; none if no answer has two
    readers.
    """
    pairs = _pairs(read_readings(run))
    if not pairs:
        return []
    prompts = known_answers(run)
    firsts, seconds = zip(*pairs, strict=True)
    return [{"first": _names(firsts), "second": _names(seconds)} | reliability(
        [each.score for each in firsts], [each.score for each in seconds],
        [prompts[each.key]["id"] for each in firsts])]


def reliability_table(rows: Sequence[Row]) -> str:
    """Two readings of the same answers: look at how alike they are within prompts."""
    return markdown_table(rows, {
        "first": lambda row: ", ".join(row["first"]), "second": lambda row: ", ".join(
            row["second"]), "answers": "n", "prompts": "prompts",
        **{heading: interval_of(key, key) for heading, key in (
            ("correlation [95 %]", "pearson"), ("within prompts", "within"),
            ("weighted kappa", "kappa"), ("second less first", "difference"))},
        "pairs that both order": "pairs",
        "same order": interval_of("same_order", "same_order")}, NOT_TWICE)


def _pairs(readings: Sequence[Reading]) -> list[tuple[Reading, Reading]]:
    """The first two readings of every answer that has two."""
    by_key: dict[str, list[Reading]] = {}
    for reading in readings:
        by_key.setdefault(reading.key, []).append(reading)
    return [(each[0], each[1]) for each in by_key.values() if len(each) > 1]


def _names(readings: Sequence[Reading]) -> list[str]:
    return sorted({reading.reader for reading in readings})
