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


@pytest.mark.parametrize("part", data.PARTS)
def test_a_part_of_a_run_without_data_names_the_notebook_that_makes_it(
        part: str, tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    with pytest.raises(StudyError, match="data is not finished; run notebook 01_data first"):
        data.load_part(study, part)


def test_with_another_run_to_copy_from_the_sentence_says_how_it_comes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    study = open_study("smoke", str(tmp_path / "run"), from_run=str(tmp_path / "other"))
    with pytest.raises(StudyError, match="run notebook 01_data with this run and from_run, which"):
        data.load_part(study, "sft")


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


def test_a_validation_split_of_held_out_prompts_alone_is_refused(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch
                                                                ) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    feedback = str(ultrafeedback(tmp_path / "feedback", rows=20, tests=6))
    study = open_study("smoke", str(tmp_path / "run"), {
        "evaluation.prompts": 6, "evaluation.temperature_prompts": 6, "data.source": "local",
        "data.sft_path": str(smoltalk(tmp_path / "talk")), "data.sft_split": "train",
        "data.preferences_path": feedback, "data.preferences_split": "train_prefs",
        "data.heldout_path": feedback, "data.heldout_split": "test_prefs",
        "data.validation_split": "test_prefs", "data.pairs": "written"})
    with pytest.raises(StudyError, match="every pair of test_prefs has a held-out prompt; lower "
                                         "evaluation.prompts, or set data.validation_split to"):
        data.prepare_data(study)


def test_more_held_out_prompts_than_there_are_are_refused(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.prompts": 201})
    with pytest.raises(StudyError, match="evaluation.prompts is 201, but .* held-out prompts are "
                                         "left after curation; set at most evaluation.prompts="):
        data.prepare_data(study)


def test_rows_of_other_layouts_keep_their_ids_and_one_that_is_not_used_is_named_with_its_place(
        tmp_path: Path) -> None:
    def talk(question: str, answer: str) -> list[dict[str, str]]:
        return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    files = {
        "sft": [*({"conversations": talk(f"What is {n}?", f"It is {n}.")} for n in range(6)),
                {"conversations": 3}, {"conversations": talk("And then?", " ")}],
        "preferences": [{"chosen": f"\n\nHuman: Is it {n}?\n\nAssistant: Yes.",
                         "rejected": f"\n\nHuman: Is it {n}?\n\nAssistant: {n}"}
                        for n in ("one", "two", "three", "four", "Yes.")],
        "heldout": [{"question_id": f"own-{n}", "turns": [f"Name {n}!"]} for n in range(6)]}
    for part, rows in files.items():
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    study = open_study("smoke", str(tmp_path / "run"), {
        "data.source": "local", "data.pairs": "written", "evaluation.prompts": 4,
        "evaluation.temperature_prompts": 4,
        **{f"data.{part}_path": str(tmp_path / f"{part}.jsonl") for part in files}})
    report = data.prepare_data(study)
    assert [report[part]["read_as"] for part in files] == [
        {"ShareGPT": 7, "unknown columns": 1}, {"hh-rlhf": 5}, {"ShareGPT": 6}]
    assert report["sft"]["dropped"] == {"unusable": 1, "empty": 1}
    assert "sft.jsonl, row 7, column messages" in report["sft"]["examples"]["unusable"]
    assert "sft.jsonl, row 8: a question" in report["sft"]["examples"]["empty"]
    assert "preferences.jsonl, row 5: chosen" in report["preferences"]["examples"]["identical_pair"]
    assert {row["id"] for row in data.load_part(study, "heldout")} < {
        f"own-{n}" for n in range(6)}
