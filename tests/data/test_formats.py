"""Local files: every kind gives the same rows, and a damaged one is named with its line."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from lib.data.formats import read_rows
from lib.runtime.files import FileError

ROWS = [{"prompt": "a\u2028b é", "n": [{"k": 1}]}, {"prompt": "c", "n": []}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


def parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(("name", "write"), [
    ("a.jsonl", lambda path: path.write_text(LINES, encoding="utf-8")),
    ("crlf.jsonl", lambda path: path.write_bytes(LINES.replace("\n", "\r\n").encode())),
    ("bom.jsonl", lambda path: path.write_text(LINES, encoding="utf-8-sig")),
    ("blank.jsonl", lambda path: path.write_text(f"\n{LINES}\n\n", encoding="utf-8")),
    ("array.json", lambda path: path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8-sig")),
    ("lines.json", lambda path: path.write_text(LINES, encoding="utf-8")),
    ("a.jsonl.gz", lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
    ("a.json.gz", lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode()))),
    ("a.parquet", parquet),
    ("A.PARQUET", parquet),
    ("a.ndjson", lambda path: path.write_text(LINES, encoding="utf-8")),
    ("a.NDJSON.gz", lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
    ("a.JSONL", lambda path: path.write_text(LINES, encoding="utf-8")),
    ("A.JSONL.GZ", lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
    ("a.Json", lambda path: path.write_text(json.dumps(ROWS), encoding="utf-8")),
    ("gzipped_by_another_name.jsonl", lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
])
def test_every_kind_of_file_gives_the_same_rows(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    assert read_rows(tmp_path / name) == ROWS


def test_a_folder_gives_the_rows_of_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('[{"x": 2}]', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"x": 1}', encoding="utf-8")
    (tmp_path / "README.md").write_text("not data", encoding="utf-8")
    assert read_rows(tmp_path) == [{"x": 1}, {"x": 2}]


def test_a_folder_saved_by_datasets_is_read(tmp_path: Path) -> None:
    from datasets import Dataset
    Dataset.from_list([{"x": 1}, {"x": 2}]).save_to_disk(str(tmp_path / "saved"))
    assert read_rows(tmp_path / "saved") == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(("name", "data", "message"), [
    ("a.jsonl", b'{"x": 1}\n{"x": \n', r"a.jsonl, line 2: not valid JSON"),
    ("a.jsonl", b'{"x": 1}\n\n{"x": "\0"}', r"a.jsonl, line 3: not valid JSON"),
    ("a.jsonl", b'{"x": 1}\n"text"', r"a.jsonl, line 2: str, expected an object"),
    ("a.jsonl", b'{"x": 1}\n{"x": "\xff"}', r"a.jsonl, line 2: not UTF-8 text"),
    ("a.json", b'[{"x": 1},\n {"x" 2}]', r"a.json, line 2: not valid JSON"),
    ("a.json", b"[1]", r"a.json, row 1: int, expected an object"),
    ("a.jsonl", b'{"x": 1}\n{"x": ' + b"[" * 100_000, r"a.jsonl, line 2: not valid JSON"),
    ("a.jsonl", b'{"x": ' + b"9" * 5000 + b"}", r"a.jsonl, line 1: not valid JSON"),
    ("a.json", b"[" * 100_000, r"a.json, line 1: not valid JSON"),
    ("a.jsonl", b"", r"a.jsonl is empty"),
    ("a.jsonl", b"\xef\xbb\xbf\r\n", r"a.jsonl is empty"),
    ("a.json", b"[]", r"a.json is empty"),
    ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-12],
     r"a.jsonl.gz cannot be read.*copy it"),
    ("a.jsonl.gz", b"no gzip", r"a.jsonl.gz cannot be read: Not a gzipped file"),
    ("a.parquet", b"PAR1 no parquet", r"a.parquet cannot be read"),
    ("a.json", b'{\n "data": [{"x": 1}]\n}', r"a.json is one object \(data\); expected a list"),
    ("a.csv", b"x\n1\n", r"a.csv is of an unknown kind; use .jsonl"),
    ("a.CSV", b"x\n1\n", r"a.CSV is of an unknown kind; use .jsonl"),
    ("a.jsonl.zst", b"\x28\xb5\x2f\xfd", r"a.jsonl.zst is of an unknown kind; use .jsonl"),
    ("a.jsonl", b'{"x": 1}\n{"x": 1, "y": {"k": 1, "k": 2}}',
     r"a.jsonl, line 2: not valid JSON \(it has 'k' twice in one object\)"),
    ("a.json", b'[{"x": 1, "x": 2}]', r"a.json, line 1: not valid JSON \(it has 'x' twice"),
    ("a.json", b'[{"x": 1},]', r"a.json, line 1: not valid JSON"),
    ("a.jsonl", b'{"x": 1},\n{"x": 2},', r"a.jsonl, line 1: not valid JSON"),
    ("a.jsonl", b"null", r"a.jsonl, line 1: NoneType, expected an object"),
    *((name, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
       f"{name} is a Git LFS pointer and not the file itself; run `git lfs pull` in")
      for name in ("a.jsonl", "a.JSON", "a.json.gz", "a.parquet", "a.arrow")),
])
def test_a_damaged_file_is_named_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_without_data_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(FileError, match="has no data files"):
        read_rows(tmp_path)


def write_rows(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([{"x": name} for name in names])
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        path.write_text("".join(json.dumps({"x": name}) + "\n" for name in names), "utf-8")


@pytest.mark.parametrize(("files", "split", "expected"), [
    (("train-00000-of-00002.parquet", "train-00001-of-00002.parquet",
      "test-00000-of-00001.parquet"), "train", "train-00000 train-00001"),
    (("data/train_sft-00000-of-00001-abc12.parquet", "data/test_sft-00000-of-00001-9f.parquet",
      "README.md"), "test_sft", "test_sft-00000"),
    (("train.jsonl", "test.jsonl"), "test", "test"),
    (("train.jsonl.gz.jsonl", "dev.jsonl"), "dev", "dev"),
    (("train/a.jsonl", "train/b.jsonl", "test/a.jsonl"), "train", "a b"),
    (("all/train-00000-of-00001.parquet", "all/test-00000-of-00001.parquet",
      "other/train-00000-of-00001.parquet"), "train", "train-00000"),
    (("validation.json", "train.json"), "validation", "validation"),
    (("a.jsonl", "b.jsonl"), "train", "a b"),
    (("even.jsonl", "training_notes.jsonl"), "train", "even training_notes"),
    (("train.jsonl", "test.jsonl", "statistics.jsonl"), "train", "train"),
    (("data/all/train-00000-of-00001.parquet", "data/other/train-00001-of-00002.parquet"), "train",
     "train-00000"),
])
def test_a_folder_with_splits_gives_the_rows_of_the_split_that_is_asked_for(
        tmp_path: Path, files: tuple[str, ...], split: str, expected: str) -> None:
    for file in files:
        stem = Path(file).name.split(".")[0].split("-of-")[0]
        write_rows(tmp_path / file, stem)
    assert " ".join(row["x"] for row in read_rows(tmp_path, split, "all")) == expected


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    write_rows(tmp_path / "train_prefs-00000-of-00001.parquet", "a")
    write_rows(tmp_path / "test_prefs-00000-of-00001.parquet", "b")
    with pytest.raises(FileError, match="has no split 'train', but test_prefs, train_prefs; name"):
        read_rows(tmp_path, "train")


def test_files_beside_a_test_split_are_no_training_rows_unasked(tmp_path: Path) -> None:
    write_rows(tmp_path / "part1.jsonl", "a")
    write_rows(tmp_path / "test.jsonl", "b")
    with pytest.raises(FileError, match="has no split 'train', but test; name .* or name a file"):
        read_rows(tmp_path, "train")


def test_a_saved_dict_of_data_sets_gives_one_split(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict
    DatasetDict({"train": Dataset.from_list([{"x": 1}]), "test": Dataset.from_list([{"x": 2}])}
                ).save_to_disk(str(tmp_path / "saved"))
    assert read_rows(tmp_path / "saved", "test") == [{"x": 2}]
    assert read_rows(tmp_path / "saved" / "train") == [{"x": 1}]
    with pytest.raises(FileError, match="has no split '', but test, train"):
        read_rows(tmp_path / "saved")


def test_arrow_is_read_as_a_stream_and_as_a_file(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    assert read_rows(tmp_path / "stream.arrow") == read_rows(tmp_path / "file.arrow") == ROWS


def test_two_columns_of_one_name_are_refused_because_a_row_would_keep_one(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"]], names=["x", "x"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(FileError, match="a.arrow has two columns 'x'; rename one of them"):
        read_rows(tmp_path / "a.arrow")
    with pytest.raises(FileError, match=r"a.parquet cannot be read: Multiple matches .*Name\(x\)"):
        read_rows(tmp_path / "a.parquet")


def test_a_data_set_of_which_a_part_was_not_fetched_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "some" / "train-00000-of-00003.parquet", "a")
    write_rows(tmp_path / "some" / "train-00002-of-00003.parquet", "a")
    with pytest.raises(FileError, match="some has 2 of the 3 files of train; fetch the others"):
        read_rows(tmp_path / "some", "train")
    assert read_rows(tmp_path / "some" / "train-00000-of-00003.parquet") == [{"x": "a"}]
    write_rows(tmp_path / "links" / "a.jsonl", "a")
    (tmp_path / "links" / "b.jsonl").symlink_to(tmp_path / "blobs" / "none")
    with pytest.raises(FileError, match="b.jsonl is a link to a file that is not there"):
        read_rows(tmp_path / "links")
    write_rows(tmp_path / "pointers" / "a.jsonl", "a")
    (tmp_path / "pointers" / "b.jsonl").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(FileError, match="b.jsonl is a Git LFS pointer"):
        read_rows(tmp_path / "pointers")


def test_what_a_folder_holds_beside_the_rows_that_are_read_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "a.jsonl", "a")
    for name in ("README.md", "b.csv", "c.jsonl.zst"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    write_rows(tmp_path / "more" / "d.jsonl", "d")
    assert read_rows(tmp_path) == [{"x": "a"}]
    assert "3 files not read, the first is b.csv; a folder gives" in capsys.readouterr().out
    write_rows(tmp_path / "clean" / "train.jsonl", "a")
    write_rows(tmp_path / "clean" / "test.jsonl", "a")
    read_rows(tmp_path / "clean", "train")
    assert capsys.readouterr().out == ""


def test_a_saved_data_set_that_lost_a_file_is_one_sentence(tmp_path: Path) -> None:
    from datasets import Dataset
    Dataset.from_list([{"x": 1}]).save_to_disk(str(tmp_path / "saved"))
    arrow, = (tmp_path / "saved").glob("*.arrow")
    arrow.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(FileError, match="arrow is a Git LFS pointer"):
        read_rows(tmp_path / "saved")
    arrow.unlink()
    with pytest.raises(FileError, match="saved cannot be read: .*copy it here again"):
        read_rows(tmp_path / "saved")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", ["train\n2.jsonl", "\ntrain.jsonl", "a\nb-00000-of-00001.jsonl"])
def test_a_files_name_may_hold_a_line_break(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, "a")
    assert read_rows(tmp_path) == [{"x": "a"}]
