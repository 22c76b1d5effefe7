"""Parquet files give back exactly what was written, and other trainers can read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import PreTrainedTokenizerFast

from lib.data.cells import SchemaError
from lib.data.chat import end_of_turn_id
from lib.data.curation import curate
from lib.data.on_policy import pairs_from_scored
from lib.data.parquet import ParquetRows, read_parquet, to_trl, write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_heldout, load_preferences, load_sft
from lib.runtime.files import FileError, write_jsonl
from lib.training.pairs import encode_pairs


@pytest.mark.parametrize("load", [
    lambda: load_sft(DataSettings(), 0), lambda: load_heldout(DataSettings()),
    lambda: load_preferences(DataSettings(), 0)], ids=["sft", "heldout", "preferences"])
def test_rows_come_back_equal_in_every_field_at_once_and_one_by_one(
        load: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    rows = load()
    assert rows
    write_parquet(rows, tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet") == rows
    assert list(ParquetRows(tmp_path / "rows.parquet")) == rows


def test_missing_scores_empty_lists_and_odd_arguments_survive(tmp_path: Path) -> None:
    pair = {"id": "1", "prompt": [], "chosen": "", "rejected": "🙂\n", "score_chosen": None,
            "score_rejected": None, "cut_off_chosen": False, "cut_off_rejected": True,
            "source": "s"}
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


def test_a_cut_off_answer_reaches_training_without_an_end_of_turn(
        smollm: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    answers = [{"text": "Rain.", "score": 5.0, "flaws": []},
               {"text": "Rain falls and", "score": 1.0, "flaws": ["cut_off"]}]
    scored = {"id": "p", "prompt": "Why?", "source": "s", "answers": answers}
    kept, report = curate(pairs_from_scored([scored], 1.0), smollm, 100)
    write_parquet(kept, tmp_path / "p.parquet")
    (pair,) = encode_pairs(read_parquet(tmp_path / "p.parquet"), smollm, 100)
    end = end_of_turn_id(smollm)
    assert pair.chosen[-1] == end
    assert end not in pair.rejected
    assert smollm.decode(pair.rejected) == "Rain falls and"
    assert report.lost_end == 1


def test_own_pairs_may_say_which_answer_was_cut_off(tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": "yes", "rejected": "n", "cut_off_rejected": True}
    write_jsonl(tmp_path / "own.jsonl", [row])
    own = DataSettings(source="local", preferences_path=str(tmp_path / "own.jsonl"),
                       pairs="written")
    (pair,) = load_preferences(own, 0)
    assert (pair["cut_off_chosen"], pair["cut_off_rejected"]) == (False, True)
    write_jsonl(tmp_path / "own.jsonl", [row | {"cut_off_rejected": "yes"}])
    with pytest.raises(SchemaError, match="cut_off_rejected: is str 'yes'; expected true, false"):
        load_preferences(own, 0)
