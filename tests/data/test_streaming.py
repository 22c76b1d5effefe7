"""A data set that is read as a stream: the same rows by any number of processes, and no copy."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from lib.data.hub import HubError, Place, first_rows, merge_choices, stream_choice
from lib.data.settings import DataSettings
from lib.data.sources import SAMPLE, check_sources, load_sft
from lib.runtime.files import read_jsonl

ROWS, FILES = 60, 4


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A repository of four Parquet files."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"messages": [{"role": m["role"], "content": m["content"]} for m in row["messages"]],
             "source": row["source"]} for row in read_jsonl(SAMPLE / "sft.jsonl")[:ROWS]]
    (tmp_path / "talk").mkdir()
    for number in range(FILES):
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows[number::FILES]),
                                    tmp_path / "talk" / f"train-{number}.parquet")
    return Place(str(tmp_path / "talk"), "", "train", "")


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_any_number_of_processes_chooses_the_rows_of_one(place: Place, count: int) -> None:
    alone = stream_choice(place, 12, "0/sft")
    shares = [stream_choice(place, 12, "0/sft", rank, count) for rank in range(count)]
    assert merge_choices(shares, 12) == alone
    assert len({key for share in shares for key, _ in share}) == sum(map(len, shares))


def test_the_choice_hangs_on_the_seed_and_no_row_comes_twice(place: Place) -> None:
    first, second = (stream_choice(place, 12, seed) for seed in ("0/sft", "1/sft"))
    assert [row for _, row in first] != [row for _, row in second]
    everything = stream_choice(place, 10 * ROWS, "0/sft")
    assert len({key for key, _ in everything}) == len(everything) == ROWS
    assert everything[:12] == first


def test_a_streamed_part_leaves_no_copy_on_disk(place: Place, tmp_path: Path) -> None:
    settings = DataSettings(source="hub", sft_path=place.path, sft_rows=12, streaming=True)
    assert len(load_sft(settings, 0)) == 12
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert len(load_sft(DataSettings(source="hub", sft_path=place.path, sft_rows=12), 0)) == 12
    assert list((tmp_path / "cache").rglob("*.arrow"))


def test_the_reader_of_a_run_is_used_for_streams(place: Place) -> None:
    asked = []

    def read(where: Place, rows: int, seed: str) -> list:
        asked.append((where, rows, seed))
        return stream_choice(where, rows, seed)
    settings = DataSettings(source="hub", sft_path=place.path, sft_rows=3, streaming=True)
    assert load_sft(settings, 5, read) == load_sft(settings, 5)
    assert asked == [(place, 3, "5/sft")]


def test_the_first_rows_come_without_the_others_and_an_empty_split_is_named(
        place: Place, tmp_path: Path) -> None:
    assert set(first_rows(place, 1)[0]) == {"messages", "source"}
    check_sources(DataSettings(source="hub", sft_path=place.path))
    with pytest.raises(HubError, match="with split 'dev'"):
        first_rows(Place(place.path, "", "dev", ""), 1)
