"""Reading files that another process may have left in the middle of a line."""

from pathlib import Path

from lib.runtime.files import append_jsonl, read_whole_lines

ROWS = [{"text": "a\u2028line\x85separator"}, {"text": "caf\u00e9"}]


def test_whole_lines_are_read_up_to_the_first_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_whole_lines(path) == ([], 0)
    for row in ROWS:
        append_jsonl(path, row)
    assert read_whole_lines(path) == (ROWS, 2)
    path.write_bytes(path.read_bytes()[:-4])  # in the middle of a character
    assert read_whole_lines(path) == (ROWS[:1], 2)
    with path.open("ab") as file:
        file.write(b'\n{"text": "after the damage"}\n\n')
    assert read_whole_lines(path) == (ROWS[:1], 3)
