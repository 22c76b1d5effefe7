"""Tables of a run's own reader: who wins, and what the judges say of the same answers.

Rows of `results.json` in, Markdown out; the statistics are computed elsewhere.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lib.analysis.tables.formatting import (
    Cell,
    bullets,
    interval,
    interval_of,
    markdown_table,
    p_value,
    verdict_lines,
    versus,
)
from lib.inference.rewards import OWN_READER
from lib.runtime.files import Row
from lib.runtime.progress import counted

NAMED = 3  # so many readers are named, more are counted; results.json names all
UNREAD = ("No one has read this run's answers; `python -m lib.study.reader export` writes batches "
          "for a reader.")
NOT_TWICE = ("No answer has two readers; give second_*.md of the batches to another reader and "
             "import the scores.")


def reader_table(rows: Sequence[Row]) -> str:
    """Who wins by the reader: look at where the judges' rates on the same answers lie elsewhere.

    rows: of `judges.same_answers`. The reader's ties are half a win and pull its rate to .50, so
    that the rate of the prompts that it decides stands beside it.
    """
    found = {(row["a"], row["b"], row["judge"]): row for row in rows}
    others = [judge for judge in dict.fromkeys(row["judge"] for row in rows) if judge != OWN_READER]

    def same_answers_by(judge: str) -> Cell:
        return lambda row: interval(found[row["a"], row["b"], judge], "win_rate")

    return markdown_table([row for row in rows if row["judge"] == OWN_READER], {
        "comparison": versus, "n": "n", "ties": "ties", "reader [95 %]": interval_of("win_rate"),
        "where the reader decides [95 %]": interval_of("decided_rate", "decided"),
        "Holm p": lambda row: p_value(row["holm_p"]),
        **{f"{judge}, same answers [95 %]": same_answers_by(judge) for judge in others}}, UNREAD)


def reader_findings(reading: Mapping[str, Any]) -> str:
    """Who read, and what the reader decided and left open, null results included.

    reading: `reader` of results.json, {} for a run that no one has read.
    """
    if not reading:
        return UNREAD
    read = [row for row in reading["same_answers"] if row["judge"] == OWN_READER]
    return bullets([who_read(reading), *verdict_lines(read, OWN_READER)])


def who_read(reading: Mapping[str, Any]) -> str:
    """Who read how much, and whether blind, in one sentence."""
    rows = reading["readers"]
    readers = _many(rows) if len(rows) > NAMED else "; ".join(
        f"{row['reader']} (a {row['kind']}{'' if row['blind'] else ', not blind'}), "
        f"{counted(row['n'], 'answer')}" for row in rows)
    return (f"{counted(reading['answers'], 'different answer')} to "
            f"{counted(reading['prompts'], 'prompt')} were read, by {readers}.")


def _many(rows: Sequence[Row]) -> str:
    """Readers by their kind, and how much each read."""
    kinds = Counter(row["kind"] for row in rows)
    answers, seeing = [row["n"] for row in rows], sum(not row["blind"] for row in rows)
    return (" and ".join(counted(number, kind) for kind, number in kinds.items())
            + f", {min(answers):,} to {max(answers):,} answers each"
            + (f"; {seeing} of them not blind" if seeing else ""))


def _named(readers: Sequence[str]) -> str:
    return counted(len(readers), "reader") if len(readers) > NAMED else ", ".join(readers)


def reliability_table(rows: Sequence[Row]) -> str:
    """Two readings of the same answers: look at how alike they are within prompts."""
    return markdown_table(rows, {
        "first": lambda row: _named(row["first"]),
        "second": lambda row: _named(row["second"]), "answers": "n", "prompts": "prompts",
        **{heading: interval_of(key, key) for heading, key in (
            ("correlation [95 %]", "pearson"), ("within prompts", "within"),
            ("weighted kappa", "kappa"), ("second minus first", "difference"))},
        "pairs that both order": "pairs",
        "same order": interval_of("same_order", "same_order")}, NOT_TWICE)
