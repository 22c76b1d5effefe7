"""Local files as raw rows: JSON Lines, a JSON array, Parquet, Arrow, or a folder of them.

JSON may be gzipped; a `.json` may hold an array or lines. A damaged file is one sentence with its
name and line.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lib.runtime.files import FileError, Row, parse_jsonl

KINDS = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz", ".arrow")
SAVED_BY_DATASETS = "state.json"  # written by Dataset.save_to_disk
SPLITS_SAVED = "dataset_dict.json"  # written by DatasetDict.save_to_disk
NO_ROWS = ("dataset_info.json", "dataset_infos.json", SAVED_BY_DATASETS)
SHARD = re.compile(r"^(?P<split>.+?)(-\d+-of-\d+(-\w+)?)?$")  # train-00000-of-00002
SPLIT = re.compile(r"(train|test|valid|validation|val|dev|eval)([_.-].*|\d*)", re.IGNORECASE)


def read_rows(path: Path | str, split: str = "", config: str = "") -> list[Row]:
    """All rows of a file, or of the files of a folder in the order of their names.

    split, config: of a folder that has several, as in `files_of`. Raises FileError for a missing
    path, no rows, another kind of file, damage.
    """
    files = files_of(path, split, config)
    if files[-1].name == SAVED_BY_DATASETS:
        from datasets import load_from_disk  # takes seconds to import, and few folders need it
        rows = load_from_disk(str(files[-1].parent)).to_list()
    else:
        rows = [row for file in files for row in _read_file(file)]
    if not rows:
        raise FileError(f"{path} is empty; expected at least one row")
    return rows


def files_of(path: Path | str, split: str = "", config: str = "") -> list[Path]:
    """The file itself, or a folder's data files by name, a `state.json` of `datasets` last.

    A folder may be a data set with splits: saved by `datasets`, a snapshot of the hub
    (`data/train-00000-of-00001.parquet`), files or folders named by split. Then only the files of
    `split` count (all, if it is empty); a folder named `config` in it is taken first. Raises
    FileError for a missing path, a folder without data files, and a split that it does not have.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileError(f"{path} does not exist; give a {', '.join(KINDS)} file, or a folder")
    if not path.is_dir():
        return [path]
    path = _of_config(path, config)
    if (path / SPLITS_SAVED).exists():
        splits = {part.name: [part] for part in sorted(path.iterdir()) if part.is_dir()}
        path = _of_split(path, splits, split)[0]
    if (path / SAVED_BY_DATASETS).exists():
        return [*sorted(path.glob("*.arrow")), path / SAVED_BY_DATASETS]
    files = _data_files(path)
    if not files:
        raise FileError(f"{path} has no data files; expected {', '.join(KINDS)}")
    splits = _splits(path, files)
    return _of_split(path, splits, split) if splits and split else files


def _of_config(path: Path, config: str) -> Path:
    """The folder of a configuration, which a snapshot may have under `data`, or the whole."""
    places = (path / config, path / "data" / config)
    return next((place for place in places if config and place.is_dir()), path)


def _data_files(path: Path) -> list[Path]:
    """A folder's data files, otherwise those in its folders."""
    def found(files: Iterable[Path]) -> list[Path]:
        """Data files among these, sorted; none that is hidden or holds no rows."""
        return sorted(file for file in files if file.name.endswith(KINDS) and file.is_file()
                      and file.name not in NO_ROWS
                      and not any(part.startswith(".") for part in file.relative_to(path).parts))
    return found(path.iterdir()) or found(path.rglob("*"))


def _splits(path: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by split, where their names, or their folders', are those of splits."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        shard = SHARD.match(file.name[:file.name.index(".", 1)])
        folder = file.parent.name if file.parent != path else ""
        is_split = shard["split"] != shard[0] or SPLIT.fullmatch(shard["split"])
        name = folder if SPLIT.fullmatch(folder) else shard["split"] if is_split else ""
        if name:
            splits.setdefault(name, []).append(file)
    return splits


def _of_split(path: Path, splits: Mapping[str, list[Path]], split: str) -> list[Path]:
    if split not in splits:
        raise FileError(f"{path} has no split {split!r}, but {', '.join(splits) or 'none'}; name "
                        "one of them in data.sft_split, data.preferences_split or "
                        "data.heldout_split, or name a file")
    return splits[split]


def _read_file(path: Path) -> list[Row]:
    if not path.name.endswith(KINDS):
        raise FileError(f"{path} is of an unknown kind; use {', '.join(KINDS)}")
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path).to_pylist()
        if path.suffix == ".arrow":
            return _read_arrow(path)
        return _parse(_text(path), path)
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} cannot be read: {reason}; copy it here again") from error


def _read_arrow(path: Path) -> list[Row]:
    """Rows of an Arrow stream, as `datasets` writes it, or of an Arrow file."""
    with pyarrow.memory_map(str(path)) as source:
        try:
            return pyarrow.ipc.open_stream(source).read_all().to_pylist()
        except pyarrow.ArrowInvalid:
            source.seek(0)
            return pyarrow.ipc.open_file(source).read_all().to_pylist()


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
    lines = text.lstrip()
    if not lines.startswith("[") and not re.match(r"{\s*\n", lines):
        return parse_jsonl(io.StringIO(text, newline=None), path)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", error)
        raise FileError(f"{path}, line {line}: not valid JSON ({reason})") from error
    if isinstance(rows, dict):
        raise FileError(f"{path} is one object ({', '.join(list(rows)[:4])}); expected a list of "
                        "rows, or one row a line")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise FileError(f"{path}, row {number}: {type(row).__name__}, expected an object")
    return rows
