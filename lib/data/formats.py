"""Local files as raw rows: JSON Lines, a JSON array, Parquet, or a folder of them.

JSON may be gzipped; a `.json` may hold an array or lines. A damaged file is one sentence with its
name and line.
"""

import gzip
import io
import json
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lib.runtime.files import FileError, Row, parse_jsonl

KINDS = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz")
SAVED_BY_DATASETS = "state.json"  # written by Dataset.save_to_disk


def read_rows(path: Path | str) -> list[Row]:
    """All rows of a file, or of the files of a folder in the order of their names.

    Raises FileError for a missing path, no rows, another kind of file, damage.
    """
    files = files_of(path)
    if files[-1].name == SAVED_BY_DATASETS:
        from datasets import load_from_disk  # takes seconds to import, and few folders need it
        rows = load_from_disk(str(files[-1].parent)).to_list()
    else:
        rows = [row for file in files for row in _read_file(file)]
    if not rows:
        raise FileError(f"{path} is empty; expected at least one row")
    return rows


def files_of(path: Path | str) -> list[Path]:
    """The file itself, or a folder's data files by name, a `state.json` of `datasets` last.

    Raises FileError for a missing path and for a folder without data files.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileError(f"{path} does not exist; give a {', '.join(KINDS)} file, or a folder")
    if not path.is_dir():
        return [path]
    if (path / SAVED_BY_DATASETS).exists():
        return [*sorted(path.glob("*.arrow")), path / SAVED_BY_DATASETS]
    files = sorted(file for file in path.iterdir() if file.name.endswith(KINDS))
    if not files:
        raise FileError(f"{path} has no data files; expected {', '.join(KINDS)}")
    return files


def _read_file(path: Path) -> list[Row]:
    if not path.name.endswith(KINDS):
        raise FileError(f"{path} is of an unknown kind; use {', '.join(KINDS)}")
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path).to_pylist()
        return _parse(_text(path), path)
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} cannot be read: {reason}; copy it here again") from error


def _text(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8-sig")  # with or without the byte order mark that Windows adds
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise FileError(f"{path}, line {line}: not UTF-8 text ({error.reason}); "
                        "save it as UTF-8") from error


def _parse(text: str, path: Path) -> list[Row]:
    if not text.lstrip().startswith("["):
        return parse_jsonl(io.StringIO(text, newline=None), path)
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise FileError(f"{path}, row {number}: {type(row).__name__}, expected an object")
    return rows
