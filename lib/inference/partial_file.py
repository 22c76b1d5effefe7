"""Finished rows of an unfinished file, from which an interrupted run resumes.

`<path>.partial.jsonl` begins with a line `{"key": ...}`, a hash of what the rows depend on. One row
a line follows, in the order in which they were finished.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.runtime.files import Row, append_jsonl, read_whole_lines, write_jsonl
from lib.runtime.progress import say


class PartialFile:
    """Rows with an `id`, appended one at a time and at the end written to the final file.

    `rows` begin with those of an earlier run with the same key. A damaged last line and rows of
    another key are dropped, each with a message.
    """

    def __init__(self, path: Path | str, key: str) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial.jsonl")
        self.key = key
        self.rows = self._earlier_rows()
        write_jsonl(self.partial, [{"key": key}, *self.rows])

    def _earlier_rows(self) -> list[Row]:
        if not self.partial.exists():
            return []
        header, *rows = _read(self.partial)
        if header.get("key") != self.key:
            say(f"{self.partial.name}: made with other settings or another model; starting anew")
            return []
        say(f"{self.partial.name}: resuming after {len(rows)} finished prompts")
        return rows

    def missing(self, prompts: Sequence[Row]) -> list[Row]:
        """The prompts without a finished row."""
        done = {row["id"] for row in self.rows}
        return [prompt for prompt in prompts if prompt["id"] not in done]

    def append(self, row: Row) -> None:
        """Add a finished row."""
        append_jsonl(self.partial, row)
        self.rows.append(row)

    def take_over(self) -> None:
        """Add the rows of all processes' shares, those of an earlier run included.

        A share is a partial file named by `share_of`. All are deleted; rows of another key are
        dropped.
        """
        known = {row["id"] for row in self.rows}
        for share in sorted(self.path.parent.glob(f"{self.path.name}.share-*.partial.jsonl")):
            header, *rows = _read(share)
            for row in rows if header.get("key") == self.key else []:
                if row["id"] not in known:
                    known.add(row["id"])
                    self.append(row)
            share.unlink()

    def finish(self, ids: Sequence[str]) -> list[Row]:
        """Write the final file with the rows in the order of `ids`; returns them."""
        by_id = {row["id"]: row for row in self.rows}
        rows = [by_id[name] for name in ids]
        write_jsonl(self.path, rows)
        self.partial.unlink()
        return rows


def share_of(path: Path, rank: int) -> Path:
    """The path under which process `rank` keeps its part of `path`."""
    return path.with_name(f"{path.name}.share-{rank}")


def _read(partial: Path) -> list[Row]:
    """Header and rows; an empty header for a file without one."""
    rows, lines = read_whole_lines(partial)
    if len(rows) < lines:
        say(f"{partial.name}, line {len(rows) + 1} of {lines}: damaged, dropped with what follows")
    return rows or [{}]
