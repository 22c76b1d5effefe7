"""The data stage is made again when rows that it reads change."""

import json
from pathlib import Path

import datasets
import pytest

from lib.data import sources
from lib.data.schema import prompt_text
from lib.study.run import StudyError, open_study
from lib.study.stages import data
from tests.study.stand_ins import smoltalk, ultrafeedback


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


def test_validation_takes_nothing_from_a_set_number_of_conversations_nor_from_the_papers_pairs(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    feedback = str(ultrafeedback(tmp_path / "feedback", rows=40, tests=12))
    study = open_study("paper", str(tmp_path / "run"), {
        "model.name": "smoke", "model.revision": None, "evaluation.prompts": 6,
        "evaluation.temperature_prompts": 6,
        "data.sft_path": str(smoltalk(tmp_path / "talk")), "data.sft_rows": 10,
        "data.preferences_path": feedback, "data.heldout_path": feedback,
        "data.validation_share": 0.1})
    rows = data.prepare_data(study)["rows"]
    assert (rows["sft"], rows["sft_validation"]) == (10, 1)
    assert (rows["preferences"], rows["preferences_validation"]) == (40, 4)
    prompts = {part: {prompt_text(row) for row in data.load_part(study, part)}
               for part in ("preferences", "preferences_validation", "heldout")}
    assert not prompts["preferences_validation"] & (prompts["preferences"] | prompts["heldout"])


def test_more_held_out_prompts_than_there_are_are_refused(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.prompts": 201})
    with pytest.raises(StudyError, match="evaluation.prompts is 201, but .* held-out prompts are "
                                         "left after curation; set at most evaluation.prompts="):
        data.prepare_data(study)
