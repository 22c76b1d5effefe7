"""Written answers, by prompt, with which a judge compares what it scores.

The sample has one for each of its prompts: `reference` of judged.jsonl and heldout.jsonl, `chosen`
of preferences.jsonl for the prompts of on_policy.jsonl. A run's own held-out rows may have one.
"""

from collections.abc import Iterable
from pathlib import Path

from lib.data.schema import prompt_text
from lib.data.sources import SAMPLE
from lib.inference.rewards.heads.views import References
from lib.runtime.files import Row, read_jsonl

WRITTEN = ("judged", "heldout", "preferences")  # the files that hold them


def sample_references(folder: Path = SAMPLE) -> References:
    """The written answer to each prompt of the sample; files that are not there have none."""
    rows = [row for name in WRITTEN if (path := folder / f"{name}.jsonl").exists()
            for row in read_jsonl(path)]
    return references_of(rows)


def references_of(rows: Iterable[Row]) -> References:
    """Prompt -> `reference`, or `chosen` of a preference; rows without one are left out."""
    return {prompt_text(row): text for row in rows if (text := _written(row))}


def _written(row: Row) -> str | None:
    chosen = row.get("chosen")
    return chosen[-1]["content"] if chosen else row.get("reference")
