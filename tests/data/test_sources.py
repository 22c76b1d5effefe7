"""Three sources give one schema; what the hub cannot give is said in one sentence."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from lib import ROOT
from lib.data.cells import SchemaError
from lib.data.hub import HubError
from lib.data.settings import PAPER, DataSettings
from lib.data.sources import load_heldout, load_preferences, load_scored, load_sft, source_hashes
from lib.runtime.files import FileError

MESSAGES = pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))
SMOLTALK = pa.schema([("messages", MESSAGES), ("source", pa.string())])
ULTRAFEEDBACK = pa.schema([
    ("prompt", pa.string()), ("prompt_id", pa.string()), ("chosen", MESSAGES),
    ("rejected", MESSAGES), ("messages", MESSAGES), ("score_chosen", pa.float64()),
    ("score_rejected", pa.float64())])


def chat(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"content": prompt, "role": "user"}, {"content": answer, "role": "assistant"}]


def repository(folder: Path, config: str, split: str, rows: list, schema: pa.Schema) -> Path:
    """A folder as a hub repository has it: Parquet files and a card that names configurations."""
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema), folder / f"{split}.parquet")
    card = {"configs": [{"config_name": config, "data_files": [
        {"split": split, "path": f"{split}.parquet"}]}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def hub(tmp_path: Path) -> DataSettings:
    """Settings of the paper with local folders in place of the repositories."""
    talk = [{"messages": chat(f"q{n}", f"a{n}"), "source": "magpie"} for n in range(40)]
    pairs = [{"prompt": f"q{n}", "prompt_id": f"id{n}", "chosen": chat(f"q{n}", "good"),
              "rejected": chat(f"q{n}", "bad"), "messages": chat(f"q{n}", "good"),
              "score_chosen": 8.0, "score_rejected": 4.5} for n in range(12)]
    smoltalk = repository(tmp_path / "smoltalk", "all", "train", talk, SMOLTALK)
    train = repository(tmp_path / "feedback", "default", "train_prefs", pairs, ULTRAFEEDBACK)
    test = repository(tmp_path / "tests", "default", "test_prefs", pairs[:3], ULTRAFEEDBACK)
    local = {"sft_path": str(smoltalk), "preferences_path": str(train), "heldout_path": str(test)}
    return replace(DataSettings(**PAPER), **local, sft_rows=10)


def test_the_sample_has_its_six_files_in_our_schema() -> None:
    settings = DataSettings()
    assert len(load_sft(settings, 0)) == 320
    assert len(load_preferences(replace(settings, pairs="written"), 0)) == 320
    heldout = load_heldout(settings)
    assert len(heldout) == 200
    assert sum(bool(row["instruction_id_list"]) for row in heldout) == 25
    assert [len(load_scored(name)) for name in ("on_policy", "judged", "audit")] == [320, 320, 120]
    assert {answer["selected"] for row in load_scored("audit") for answer in row["answers"]} == {
        "first", "bon4"}


def test_on_policy_pairs_are_the_default_and_keep_their_gap() -> None:
    pairs = load_preferences(DataSettings(), 0)
    assert len(pairs) == 669
    assert min(row["score_chosen"] - row["score_rejected"] for row in pairs) == 1.0
    best = load_preferences(DataSettings(pairs_per_prompt="best_worst"), 0)
    assert len(best) == 213 == len({row["id"].split("/")[0] for row in best})


def test_a_choice_of_rows_is_seeded_and_without_repetition() -> None:
    settings = DataSettings(sft_rows=50)
    first, again, other = (load_sft(settings, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({row["id"] for row in first}) == 50


def test_more_rows_than_there_are_means_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(load_sft(DataSettings(sft_rows=1000), 0)) == 320
    assert "1,000 rows are set and 320 are there" in capsys.readouterr().out


def test_hub_datasets_become_our_rows(hub: DataSettings) -> None:
    rows = load_sft(hub, 3)
    assert len(rows) == 10
    assert rows[0].keys() == {"id", "messages", "source"}
    assert rows == load_sft(hub, 3) != load_sft(hub, 4)
    assert Counter(row["source"] for row in rows) == {"magpie": 10}
    pair = load_preferences(hub, 0)[0]
    assert pair == {"id": "id0", "prompt": [{"role": "user", "content": "q0"}], "chosen": "good",
                    "rejected": "bad", "score_chosen": 8.0, "score_rejected": 4.5,
                    "cut_off_chosen": False, "cut_off_rejected": False, "source": "feedback"}
    assert [row["reference"] for row in load_heldout(hub)] == ["good"] * 3


def test_hub_rows_equal_the_same_rows_from_a_local_file(hub: DataSettings, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    table = pyarrow.parquet.read_table(Path(hub.sft_path) / "train.parquet")
    file.write_text("\n".join(map(json.dumps, table.to_pylist())), encoding="utf-8")
    local = DataSettings(source="local", sft_path=str(file), sft_rows=10)
    assert load_sft(local, 3) == load_sft(hub, 3)


def test_a_path_left_empty_is_the_sample(hub: DataSettings) -> None:
    assert len(load_heldout(replace(hub, heldout_path=""))) == 200


@pytest.mark.parametrize(("change", "message"), [
    ({"sft_config": "none"}, "no config 'none' with split 'train': BuilderConfig 'none' not found"),
    ({"sft_split": "dev"}, "with split 'dev': Unknown split"),
])
def test_a_wrong_config_or_split_is_named_with_the_right_ones(
    hub: DataSettings, change: dict[str, str], message: str
) -> None:
    with pytest.raises(HubError, match=message):
        load_sft(replace(hub, **change), 0)


def test_a_hub_dataset_without_our_columns_is_refused(hub: DataSettings) -> None:
    wrong = replace(hub, sft_path=hub.preferences_path, sft_config="", sft_split="train_prefs")
    assert load_sft(wrong, 0)  # UltraFeedback has messages as well
    wrong = replace(hub, preferences_path=hub.sft_path, preferences_split="train")
    with pytest.raises(SchemaError, match=r"row 1, column chosen: is missing \(columns: messages"):
        load_preferences(wrong, 0)
    with pytest.raises(SchemaError, match="column prompt: is missing"):
        load_heldout(replace(hub, heldout_path=hub.sft_path, heldout_split="train"))


@pytest.mark.parametrize(("error", "message"), [
    (datasets.exceptions.DatasetNotFoundError("'x/y' is a gated dataset on the Hub.\nVisit it."),
     "x/y cannot be had from the hub: 'x/y' is a gated dataset on the Hub. If it is gated"),
    (datasets.exceptions.DatasetNotFoundError("Revision 'r1' doesn't exist for dataset 'x/y'."),
     "Revision 'r1' doesn't exist"),
    (ConnectionError("Couldn't reach 'x/y' on the Hub (ConnectError)"),
     "cannot be loaded .*ConnectError.*data.source=sample"),
    (datasets.exceptions.DatasetGenerationError("An error occurred"), "cannot be loaded"),
    (OSError("No space left on device"), "No space left on device"),
])
def test_what_the_hub_answers_becomes_one_sentence(
    hub: DataSettings, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        assert kwargs["revision"] == PAPER["sft_revision"]
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError, match=message) as caught:
        load_sft(replace(hub, sft_path="x/y"), 0)
    assert "\n" not in str(caught.value)


def test_offline_without_a_cache_says_so_and_what_to_do(tmp_path: Path) -> None:
    program = ("from lib.data.settings import *; from lib.data.sources import load_sft\n"
               "load_sft(DataSettings(**PAPER), 0)")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path),
                                "HF_DATASETS_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lib.data.hub.HubError: HuggingFaceTB/smoltalk cannot be loaded")
    assert "unset HF_HUB_OFFLINE, or use data.source=sample" in last


def test_the_newest_revision_is_named_so_that_it_can_be_pinned(
    hub: DataSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_sft(hub, 0)
    assert "train: 40 rows, from a local folder" in capsys.readouterr().out
    dataset = datasets.Dataset.from_list([{"messages": chat("q", "a"), "source": "s"}])
    url = f"hf://datasets/x/y@{'ab12' * 10}/data/train.parquet"
    dataset.info.download_checksums = {url: {}}
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: dataset)
    load_sft(replace(hub, sft_path="x/y", sft_revision=""), 0)
    assert f"newest revision ({'ab12' * 10}); pin it" in capsys.readouterr().out


def test_errors_in_local_files_name_the_file_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    settings = DataSettings(source="local", sft_path=str(file))
    with pytest.raises(FileError, match=r"mine.jsonl does not exist"):
        load_sft(settings, 0)
    file.write_text('{"messages": []}\n{"messages": 3}\n', encoding="utf-8")
    with pytest.raises(SchemaError, match=r"mine.jsonl, row 2, column messages: is int 3"):
        load_sft(settings, 0)


@pytest.mark.parametrize(("change", "message"), [
    ({"source": "hubb"}, "source is 'hubb'; use one of sample, hub, local"),
    ({"source": "hub"}, "data.source is 'hub' and no place is named; use sample,"),
    ({"pairs": "both"}, "pairs is 'both'; use one of on_policy, written"),
    ({"sft_rows": 0}, "sft_rows is 0; use a whole number of at least 1, or null"),
    ({"max_length": 1}, "max_length is 1; use a whole number of at least 2"),
    ({"min_gap": -1.0}, "min_gap is -1.0; use a number of at least 0"),
    ({"validation_share": 1.0}, "validation_share is 1.0; use a number of at least 0 and below 1"),
])
def test_impossible_settings_are_refused_when_they_are_made(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DataSettings(**change)


def test_the_rows_of_a_part_are_known_by_the_bytes_of_their_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"messages": []}\n', encoding="utf-8")
    settings = DataSettings(source="local", sft_path=str(file))
    before = source_hashes(settings)
    file.write_text('{"messages": [1]}\n', encoding="utf-8")
    changed = {part for part, digest in source_hashes(settings).items() if digest != before[part]}
    assert changed == {"sft"}
    assert source_hashes(DataSettings(pairs="written"))["preferences"] != before["preferences"]
    file.unlink()
    with pytest.raises(FileError, match="mine.jsonl does not exist; give a"):
        source_hashes(settings)
