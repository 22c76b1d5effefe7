"""Finished rows of an unfinished file, from which an interrupted run resumes.

`<path>.partial.jsonl` begins with a line `{"key": ...}` that says what the rows depend on, then
holds one row a line in the order in which they were finished.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.runtime.files import Row, append_jsonl, read_whole_lines, write_jsonl
from lib.runtime.progress import say


class PartialFile:
    """Rows by their `id`, appended one at a time and at the end written to the final file.

    `rows` begin with those that an earlier run with the same key left. A damaged last line is
    dropped and rows of another key are discarded, each with a message.
    """

    def __init__(self, path: Path | str, key: str) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial.jsonl")
        self.key = key
        self.rows = self._left_behind()
        write_jsonl(self.partial, [{"key": key}, *self.rows])

    def _left_behind(self) -> list[Row]:
        if not self.partial.exists():
            return []
        header, *rows = _read(self.partial)
        if header.get("key") != self.key:
            say(f"{self.partial.name}: made with other settings or another model; starting anew")
            return []
        say(f"{self.partial.name}: going on after {len(rows)} finished prompts")
        return rows

    def append(self, row: Row) -> None:
        """Add a finished row."""
        append_jsonl(self.partial, row)
        self.rows.append(row)

    def take_over(self) -> None:
        """Add the rows that processes of this or an earlier start left in their shares.

        A share is a partial file named by `share_of`; it is deleted, and rows of another key with
        it.
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
    """Header and rows; an empty header where there is none."""
    rows, lines = read_whole_lines(partial)
    if len(rows) < lines:
        say(f"{partial.name}, line {len(rows) + 1} of {lines}: damaged, dropped with what follows")
    return rows or [{}]
