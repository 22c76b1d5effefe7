"""The rows of a run as Parquet files, written atomically and read without loss.

Preferences have TRL's conversational format (prompt, chosen and rejected are message lists), so
that other trainers can read them. SFT rows and pairs carry their token ids (`lib.data.tokens`). A
scored answer of the model itself is a row (`lib.training.on_policy.answers`). Arguments of
verifiable instructions are JSON texts: a Parquet column of structs would give every row the keys of
all the others.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from lib.runtime.files import FileError, Record, Row, atomic_write

_messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMAS = (
    pa.schema([("id", pa.string()), ("messages", _messages), ("source", pa.string())]),
    pa.schema([("id", pa.string()), ("prompt", _messages), ("chosen", _messages),
               ("rejected", _messages), ("score_chosen", pa.float64()),
               ("score_rejected", pa.float64()), ("source", pa.string())]),
    pa.schema([("id", pa.string()), ("prompt", pa.string()), ("reference", pa.string()),
               ("source", pa.string()), ("instruction_id_list", pa.list_(pa.string())),
               ("kwargs", pa.list_(pa.string()))]),
    pa.schema([("id", pa.string()), ("prompt", _messages), ("answer", pa.string()),
               ("score", pa.float64()), ("cut_off", pa.bool_())]),
)
TOKENS = ("input_ids", "response_mask", "prompt_ids", "chosen_ids", "rejected_ids",
          "answer_ids")
OPTIONAL = {"cut_off_chosen": pa.bool_(), "cut_off_rejected": pa.bool_(),
            **dict.fromkeys(TOKENS, pa.list_(pa.int32())),
            "age": pa.int32(), "sft_weight": pa.float64(), "old_logps": pa.list_(pa.float32())}


def write_parquet(rows: Sequence[Record], path: Path | str, like: Sequence[Record] = ()) -> None:
    """Write SFT, preference, held-out or answer rows, which their columns identify.

    like: rows of the same kind, for a part that may be empty. Raises FileError for no rows, unknown
    columns, and a folder that cannot be written to.
    """
    schema = _schema_of(rows or like, path)
    if "chosen" in schema.names:
        rows = to_trl(rows)
    if "kwargs" in schema.names:
        rows = [{**row, "kwargs": [json.dumps(entry) for entry in row["kwargs"]]} for row in rows]
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)


def read_parquet(path: Path | str) -> list[Any]:
    """The rows that `write_parquet` wrote, of their own schema.

    Raises FileError for a missing or damaged file.
    """
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"cannot read {path}: {str(error).splitlines()[0]}; "
                        "run the data stage again with --force") from error
    return [_as_written(row) for row in rows]


class ParquetRows(Sequence[Row]):
    """The rows of `read_parquet`, memory-mapped by `datasets` and read one at a time.

    `datasets` converts the file to Arrow once, in `.arrow` beside it; processes share that.
    """

    def __init__(self, path: Path | str) -> None:
        from datasets import Dataset  # takes seconds to import, and most runs fit in memory
        self.table = Dataset.from_parquet(str(path), cache_dir=str(Path(path).parent / ".arrow"))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Row:  # type: ignore[override]  # no slice is asked for
        return _as_written(self.table[index])


def _as_written(row: Row) -> Row:
    """A row of a file in the form before writing."""
    if "chosen" in row:
        return _from_trl(row)
    if "kwargs" in row:
        return {**row, "kwargs": [json.loads(text) for text in row["kwargs"]]}
    return row


def to_trl(rows: Sequence[Record]) -> list[Row]:
    """Preference rows in TRL's conversational format; other columns stay."""
    return [{**row, "chosen": _assistant(row["chosen"]), "rejected": _assistant(row["rejected"])}
            for row in rows]


def _from_trl(row: Row) -> Row:
    return {**row, "chosen": row["chosen"][0]["content"],
            "rejected": row["rejected"][0]["content"]}


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _schema_of(rows: Sequence[Record], path: Path | str) -> pa.Schema:
    if not rows:
        raise FileError(f"there are no rows to write to {path}; see the counts of dropped rows")
    columns: set[str] = set().union(*rows)
    for schema in SCHEMAS:
        if columns - set(OPTIONAL) == set(schema.names):
            return pa.schema([*schema, *((name, kind) for name, kind in OPTIONAL.items()
                                         if name in columns)])
    raise FileError(f"rows for {path} have columns {', '.join(sorted(columns))}; "
                    "expected those of SFT, preference, held-out or answer rows")
