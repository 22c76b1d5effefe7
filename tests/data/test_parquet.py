"""Parquet files give back exactly what was written, and other trainers can read them."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from lib.data.parquet import read_parquet, to_trl, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_heldout, load_preferences, load_sft
from lib.runtime.files import FileError


@pytest.mark.parametrize("rows", [
    load_sft(DataSettings(), 0), load_heldout(DataSettings()), load_preferences(DataSettings(), 0),
], ids=["sft", "heldout", "preferences"])
def test_rows_come_back_equal_in_every_field(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    write_parquet(rows, tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet") == rows


def test_missing_scores_empty_lists_and_odd_arguments_survive(tmp_path: Path) -> None:
    pair = {"id": "1", "prompt": [], "chosen": "", "rejected": "🙂\n", "score_chosen": None,
            "score_rejected": None, "source": "s"}
    held = {"id": "1", "prompt": "q", "reference": None, "source": "s",
            "instruction_id_list": ["a", "b"], "kwargs": [{}, {"deep": {"x": [1, "é", None]}}]}
    for row in (pair, held):
        write_parquet([row], tmp_path / "row.parquet")
        assert read_parquet(tmp_path / "row.parquet") == [row]


def test_preferences_are_in_the_conversational_format_of_trl(tmp_path: Path) -> None:
    from trl.data_utils import is_conversational
    rows = load_preferences(DataSettings(), 0)
    write_parquet(rows, tmp_path / "p.parquet")
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "p.parquet"),
                                   split="train", cache_dir=str(tmp_path / "cache"))
    assert is_conversational(loaded[0])
    assert loaded[0] == to_trl(rows)[0]
    assert loaded[0]["chosen"] == [{"role": "assistant", "content": rows[0]["chosen"]}]


def test_our_own_file_can_be_the_source_of_the_next_run(tmp_path: Path) -> None:
    rows = load_preferences(DataSettings(), 0)[:5]
    write_parquet(rows, tmp_path / "p.parquet")
    settings = DataSettings(source="local", preferences_path=str(tmp_path / "p.parquet"),
                            pairs="written")
    assert load_preferences(settings, 0) == rows


def test_nothing_to_write_unknown_columns_and_damage_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there are no rows to write"):
        write_parquet([], tmp_path / "a.parquet")
    with pytest.raises(FileError, match="have columns id, text; expected those of"):
        write_parquet([{"id": "1", "text": "a"}], tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()
    (tmp_path / "b.parquet").write_bytes(b"PAR1 damaged")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(FileError, match=f"cannot read .*{name}"):
            read_parquet(tmp_path / name)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    rows = load_sft(DataSettings(), 0)[:2]
    write_parquet(rows, path)
    with pytest.raises(UnicodeEncodeError):
        write_parquet([{**rows[0], "source": "\ud800"}], path)
    assert read_parquet(path) == rows
    assert [file.name for file in tmp_path.iterdir()] == ["s.parquet"]
