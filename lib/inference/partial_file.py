"""Finished rows of an unfinished file, so that an interrupted run goes on where it stopped.

`<path>.partial.jsonl` begins with a line `{"key": ...}` that says what the rows depend on, then
holds one row a line in the order in which they were finished.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from lib.runtime.files import Row, append_jsonl, write_jsonl
from lib.runtime.progress import say


class PartialFile:
    """Rows by their `id`, appended one at a time, and at the end put into the final file.

    `rows` are those that an earlier run with the same key left; a damaged last line is dropped,
    and rows made with another key are thrown away, each with a message.
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
        header, *rows = _whole_lines(self.partial) or [{}]
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
        """Add the rows of the shares that processes of this or an earlier start left; drop them.

        A share is a partial file of the same key, named by `share_of`.
        """
        known = {row["id"] for row in self.rows}
        for share in sorted(self.path.parent.glob(f"{self.path.name}.share-*.partial.jsonl")):
            header, *rows = _whole_lines(share) or [{}]
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
    """The file that process `rank` would write, were its share all there is of `path`."""
    return path.with_name(f"{path.name}.share-{rank}")


def _whole_lines(partial: Path) -> list[Row]:
    """The lines before the first damaged one."""
    rows = []
    lines = partial.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            say(f"{partial.name}, line {number} of {len(lines)}: damaged, dropped with what "
                "follows it")
            break
    return rows
