"""Rows that stay on disk train the same model as rows in memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.data.parquet import write_parquet
from lib.data.settings import DataSettings
from lib.data.sources import load_preferences, load_sft
from lib.runtime.files import read_jsonl
from lib.training import lazy_examples
from lib.training.dpo import train_dpo
from lib.training.job import Job
from lib.training.lazy_examples import LazyExamples
from lib.training.settings import DPOSettings, SFTSettings
from lib.training.sft import train_sft

SETTINGS = {"learning_rate": 1e-3, "batch_size": 4, "token_budget": 1024,
            "checkpoint_every": 0}


def job_of(method: str, folder: Path) -> Job:
    rows = (load_sft(DataSettings(sft_rows=12), 0) if method == "sft" else
            load_preferences(DataSettings(preference_rows=8), 0))
    for name, part in (("rows", rows[2:]), ("validation", rows[:2])):
        write_parquet(part, folder / f"{name}.parquet")
    settings = SFTSettings(**SETTINGS) if method == "sft" else DPOSettings(**SETTINGS)
    return Job(method, "smoke", str(folder / "rows.parquet"), str(folder / "memory"),
               str(folder / "validation.parquet"), settings, max_length=128, device="cpu",
               precision="float32")


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_rows_on_disk_train_what_rows_in_memory_train(
        method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_examples, "KEPT", 2)  # fewer than a step has
    in_memory, train = job_of(method, tmp_path), {"sft": train_sft, "dpo": train_dpo}[method]
    train(in_memory)
    train(replace(in_memory, folder=str(tmp_path / "disk"), streamed=True))
    losses = [[(row["step"], row["split"], row["loss"])
               for row in read_jsonl(tmp_path / name / "metrics.jsonl")]
              for name in ("memory", "disk")]
    assert losses[0] == losses[1]


def test_an_example_is_encoded_when_it_is_looked_at_and_few_are_kept(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_examples, "KEPT", 2)
    asked = []
    examples = LazyExamples([{"n": n} for n in range(5)],
                            lambda row: asked.append(row["n"]) or row["n"])
    assert asked == []
    assert [examples[3], examples[3], examples[1]] == [3, 3, 1]
    assert asked == [3, 1]
    assert list(examples) == [0, 1, 2, 3, 4]
    assert asked.count(3) == 2
    with pytest.raises(IndexError):
        examples[5]
