"""Work split over processes: each gets its share, and a failure is one sentence."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pytest

from lib.data.hub import Place, stream_choice
from lib.runtime.files import write_json
from lib.study.run import Study, open_study
from lib.study.stages import data as prepare
from lib.study.workers import worker as shares
from lib.training.processes import Processes
from tests.study.stand_ins import smoltalk


def test_a_runs_stream_is_read_by_all_its_processes(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("STUDY_PROCESSES", "3")
    study = open_study("smoke", str(tmp_path / "run"))
    place = Place(str(smoltalk(tmp_path / "talk")), "all", "train", "")
    asked = []

    def in_turn(study: Study, work: str, options: Mapping[str, Any], *_: str) -> list[Any]:
        options = json.loads(json.dumps(options))
        asked.append(work)
        return [json.loads(json.dumps(prepare.read_share(study, options, Processes(rank, 3))))
                for rank in range(3)]
    monkeypatch.setattr(prepare, "run_on_workers", in_turn)
    read = prepare._reader(study)
    assert [row for _, row in read(place, 7, "0/sft")] == [
        row for _, row in stream_choice(place, 7, "0/sft")]
    assert asked == ["lib.study.stages.data:read_share"]


def fails(study: Study, options: Mapping[str, Any], processes: Processes) -> None:
    raise ValueError(f"{options['what']} went\nwrong")


def test_a_share_that_fails_is_one_sentence_and_a_status(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    capsys.readouterr()
    write_json(tmp_path / "task.json", {
        "task": f"{__name__}:fails", "options": {"what": "sampling"},
        "profile": asdict(study.profile), "folder": str(study.folder)})
    assert shares.main(["--config", str(tmp_path / "task.json")]) == 2
    assert capsys.readouterr().err == "error: sampling went wrong\n"
    assert not (tmp_path / "returned-0.json").exists()


def test_a_share_alone_returns_what_its_work_gives(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    write_json(tmp_path / "task.json", {
        "task": f"{__name__}:told", "options": {"what": 3}, "profile": asdict(study.profile),
        "folder": str(study.folder)})
    assert shares.main(["--config", str(tmp_path / "task.json")]) == 0
    assert json.loads((tmp_path / "returned-0.json").read_text()) == ["smoke", 3, 0]


def told(study: Study, options: Mapping[str, Any], processes: Processes) -> list[Any]:
    return [study.profile.name, options["what"], processes.rank]
