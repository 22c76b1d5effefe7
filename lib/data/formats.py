"""Local files as raw rows: JSON Lines, a JSON array, Parquet, Arrow, or a folder of them.

JSON may be gzipped; a `.json` may hold an array or lines; endings count in capitals too. A damaged
file is one sentence with its name and line, and so is a folder that is not whole.
"""

import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lib.runtime.files import FileError, Row, parse_jsonl, refuse_pointer
from lib.runtime.progress import counted, say

KINDS = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow",
         ".jsonl.gz", ".ndjson.gz", ".json.gz")
OTHERS = (".csv", ".tsv", ".xlsx", ".feather", ".zip", ".tar", ".gz", ".zst", ".bz2", ".xz")
GZIP = b"\x1f\x8b"  # how a gzipped file begins, whatever its name
SAVED_BY_DATASETS = "state.json"  # written by Dataset.save_to_disk
SPLITS_SAVED = "dataset_dict.json"  # written by DatasetDict.save_to_disk
NO_ROWS = ("dataset_info.json", "dataset_infos.json", SAVED_BY_DATASETS)
SHARD = re.compile(r"^(?P<split>.+?)(-\d+-of-(?P<count>\d+)(-\w+)?)?$",  # train-00000-of-00002
                   re.DOTALL)
SPLIT = re.compile(r"(train|test|valid|validation|val|dev|eval)([_.-].*|\d*)", re.IGNORECASE)


def read_rows(path: Path | str, split: str = "", config: str = "") -> list[Row]:
    """All rows of a file, or of the files of a folder in the order of their names.

    split, config: of a folder that has several, as in `files_of`. Raises FileError for a missing
    path, no rows, another kind of file, damage.
    """
    files = files_of(path, split, config)
    _say_left_out(_of_config(Path(path).expanduser(), config))
    if files[-1].name == SAVED_BY_DATASETS:
        rows = _read_saved(files)
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
    FileError for a missing path, a folder without data files, a split that it does not have, and
    files that were not fetched.
    """
    files = _found(path, split, config)
    for file in files:
        refuse_pointer(file)
    return files


def _found(path: Path | str, split: str, config: str) -> list[Path]:
    path = Path(path).expanduser()
    if not path.exists():
        raise FileError(f"{path} does not exist; give a {', '.join(KINDS)} file or a folder, or "
                        "data.source=hub with the id of a data set")
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
        beside = ", ".join(sorted(file.name for file in path.iterdir())[:4]) or "nothing"
        raise FileError(f"{path} has no data files, but {beside}; expected {', '.join(KINDS)}")
    splits = _splits(path, files)
    return _whole(_of_split(path, splits, split) if splits and split else files)


def _of_config(path: Path, config: str) -> Path:
    """The folder of a configuration, which a snapshot may have under `data`, or the whole."""
    places = (path / config, path / "data" / config)
    return next((place for place in places if config and place.is_dir()), path)


def _data_files(path: Path) -> list[Path]:
    """A folder's data files, otherwise those in its folders."""
    return _named(path, path.iterdir(), KINDS) or _named(path, path.rglob("*"), KINDS)


def _named(folder: Path, files: Iterable[Path], kinds: tuple[str, ...]) -> list[Path]:
    """The files of some kinds, sorted, and links to what was never fetched; none that is hidden."""
    return sorted(file for file in files if file.name.lower().endswith(kinds)
                  and (file.is_file() or file.is_symlink()) and file.name not in NO_ROWS
                  and not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _whole(files: list[Path]) -> list[Path]:
    """The files; raises FileError for a link to nothing, and for shards that are not there."""
    shards: Counter[tuple[Path, str, int]] = Counter()
    for file in files:
        if not file.exists():
            raise FileError(f"{file} is a link to a file that is not there; fetch the file")
        if count := (shard := _shard(file))["count"]:
            shards[file.parent, shard["split"], int(count)] += 1
    for (folder, name, count), there in shards.items():
        if there < count:
            raise FileError(f"{folder} has {there} of the {count} files of {name}; fetch the "
                            "others, or name one file")
    return files


def _say_left_out(path: Path) -> None:
    """Say which files of a folder may hold rows and are read neither here nor as another split."""
    if not path.is_dir() or any((path / name).exists() for name in (SAVED_BY_DATASETS,
                                                                    SPLITS_SAVED)):
        return
    read = _data_files(path)
    if left := [file for file in _named(path, path.rglob("*"), (*KINDS, *OTHERS))
                if file not in read]:
        say(f"{path}: {counted(len(left), 'file')} not read, the first is "
            f"{left[0].relative_to(path)}; a folder gives its own files, or those of its folders "
            f"where it has none, of the kinds {', '.join(KINDS)}")


def _shard(file: Path) -> re.Match[str]:
    """The parts of a file's name before its endings; every name has a `split`."""
    shard = SHARD.match(file.name[:file.name.index(".", 1)])
    assert shard  # `split` takes any name
    return shard


def _splits(path: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by split, where their names, or their folders', are those of splits."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        shard = _shard(file)
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


def _read_saved(files: Sequence[Path]) -> list[Row]:
    """Rows of a folder that `datasets` saved."""
    from datasets import load_from_disk  # takes seconds to import, and few folders need it
    with _readable(files[-1].parent):
        return load_from_disk(str(files[-1].parent)).to_list()


def _read_file(path: Path) -> list[Row]:
    kind = path.suffix.lower()
    if not path.name.lower().endswith(KINDS):
        raise FileError(f"{path} is of an unknown kind; use {', '.join(KINDS)}")
    with _readable(path):
        if kind == ".parquet":
            return pyarrow.parquet.read_table(path).to_pylist()
        if kind == ".arrow":
            return _read_arrow(path)
        return _parse(_text(path), path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What readers raise within the block for a damaged file becomes a FileError."""
    try:
        yield
    except FileError:
        raise
    except json.JSONDecodeError as error:  # of datasets' own files
        raise FileError(f"{path} cannot be read: {error}; copy it here again") from error
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} cannot be read: {reason}; copy it here again") from error


def _read_arrow(path: Path) -> list[Row]:
    """Rows of an Arrow stream, as `datasets` writes it, or of an Arrow file."""
    with pyarrow.memory_map(str(path)) as source:
        try:
            table = pyarrow.ipc.open_stream(source).read_all()
        except pyarrow.ArrowInvalid:
            source.seek(0)
            table = pyarrow.ipc.open_file(source).read_all()
    if twice := [name for name, count in Counter(table.column_names).items() if count > 1]:
        raise FileError(f"{path} has two columns {twice[0]!r}; rename one of them")
    return table.to_pylist()


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(GZIP) or path.suffix.lower() == ".gz":
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
        return parse_jsonl(io.StringIO(text, newline=None), path, _without_repetition)
    try:
        rows = json.loads(text, object_pairs_hook=_without_repetition)
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


def _without_repetition(pairs: Sequence[tuple[str, object]]) -> Row:
    """A JSON object, which would silently keep the last of two values of one name."""
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items()
                     if count > 1)
        raise ValueError(f"it has {twice!r} twice in one object")
    return row
