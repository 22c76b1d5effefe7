"""The data stage is made again when rows that it reads change."""

import json
from pathlib import Path

import pytest

from lib.data import sources
from lib.study.run import StudyError, open_study
from lib.study.stages import data


def test_other_pairs_are_among_what_the_stage_reads(tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    sample = tmp_path / "sample"
    sample.mkdir()
    for path in sources.SAMPLE.glob("*.jsonl"):
        (sample / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(sources, "SAMPLE", sample)
    before = data._source_hashes(study)
    assert data._source_hashes(study) == before
    written = sample / "preferences.jsonl"
    first, *rest = written.read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    row["chosen"][-1]["content"] = "Another answer."
    written.write_text("\n".join([json.dumps(row), *rest]) + "\n", encoding="utf-8")
    assert data._source_hashes(study) != before


def test_a_tokenizer_is_told_apart_by_its_revision(tmp_path: Path) -> None:
    first, second = (data._tokenizer(open_study("smoke", str(tmp_path), {
        "model.revision": revision})) for revision in ("a" * 40, "b" * 40))
    assert first != second


def test_more_held_out_prompts_than_there_are_are_refused(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.prompts": 201})
    with pytest.raises(StudyError, match="evaluation.prompts is 201, but .* held-out prompts are "
                                         "left after curation; set at most evaluation.prompts="):
        data.prepare_data(study)
