"""Pairs that a run makes itself: SFT's answers to the pairs' prompts, ranked by the selector."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.runtime.files import read_json, read_jsonl, write_json
from lib.study.pools import self_generated
from lib.study.pools.self_generated import generate_pairs, prompts_of
from lib.study.run import Study, StudyError, open_study
from lib.study.stages.data import load_part, part_file, prepare_data
from lib.study.stages.dpo import dpo_job
from lib.study.stages.probe import probe_prompts
from lib.study.stages.rewards import conversations_of
from tests.inference.fake_server import FakeServer, choice

TEXTS = ("good", "worst of all", "better than good", "best but cut")
SCORES = {"good": 0.0, "worst of all": -2.0, "better than good": 1.0, "best but cut": 9.0}


class ByText:
    """A selector that knows the four answers; nobody else may be asked."""

    def __init__(self, study: Study, roles: list[str]) -> None:
        assert roles == ["selector"]

    def score(self, conversations: list) -> dict[str, list[float]]:
        assert all(isinstance(turn["content"], str) for turns in conversations for turn in turns)
        return {"selector": [SCORES[turns[-1]["content"]] for turns in conversations]}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """Data are prepared, SFT is finished and served: four answers, the last one cut off."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(self_generated, "Scorer", ByText)
    monkeypatch.setattr(self_generated, "fit_rewards", lambda _, says: None)
    fake = FakeServer()
    fake.behave = lambda asked, call: (200, {}, json.dumps({"usage": {"prompt_tokens": 9},
        "choices": [choice(text, "length" if "cut" in text else "stop")
                    for text in TEXTS[:asked["n"]]]}))
    study = open_study("smoke", str(tmp_path / "run"), {
        "data.pairs": "self_generated", "data.pairs_per_prompt": "best_worst",
        "data.preference_rows": 20, "sampling.server": fake.settings.base_url})
    prepare_data(study)
    write_json(study.path("sft", "manifest.json"), {"outputs": {"model": "trained"}})
    yield study
    fake.http.shutdown()
    fake.http.server_close()


def test_the_best_finished_answer_is_set_against_the_worst_and_the_counts_are_kept(
        study: Study) -> None:
    report = generate_pairs(study)
    pairs = load_part(study, "preferences")
    assert {(pair["chosen"], pair["rejected"]) for pair in pairs} == {
        ("better than good", "worst of all")}
    assert pairs[0]["score_chosen"] - pairs[0]["score_rejected"] == 3.0
    counts = report["preferences"]
    assert (counts["prompts"], counts["answers"], counts["cut_off"]) == (20, 80, 20)
    assert (counts["pairs"], counts["paired_prompts"], counts["unscored"]) == (20, 20, 0)
    assert report == read_json(study.path("pairs", "report.json"))
    [pool] = study.path("pairs", "pools").glob("*.jsonl")
    assert conversations_of(read_jsonl(pool))
    assert all("selector" in answer["rewards"] for row in read_jsonl(pool)
               for answer in row["candidates"])


def test_dpo_trains_on_them_and_the_warning_run_on_the_written_pairs_of_the_same_prompts(
        study: Study) -> None:
    written = load_part(study, "preferences")
    generate_pairs(study)
    job = dpo_job(study, study.path("dpo"))
    assert Path(job.rows) == study.path("pairs", "preferences.parquet")
    assert Path(job.validation) == study.path("pairs", "preferences_validation.parquet")
    assert load_part(study, "other_pairs") == written
    assert part_file(study, "other_pairs") == study.path("data", "other_pairs.parquet")
    own = load_part(study, "preferences")
    assert [pair["prompt"] for pair in own] == [row["prompt"] for row in prompts_of(written)]


def test_the_probe_asks_the_same_validation_prompts_before_and_after(study: Study) -> None:
    before = probe_prompts(study)
    generate_pairs(study)
    study.path("pairs", "preferences_validation.parquet").unlink()  # as if no prompt had a pair
    assert probe_prompts(study) == before


def test_they_are_made_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = generate_pairs(study)
    monkeypatch.setattr(self_generated, "sample_pools", lambda *_: pytest.fail("sampled again"))
    assert generate_pairs(study) == first


def test_without_two_answers_far_enough_apart_the_remedy_is_named(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in TEXTS:
        monkeypatch.setitem(SCORES, text, 0.5)
    with pytest.raises(StudyError, match=r"data\.min_gap=1\.0 .* raise data\.pair_samples"):
        generate_pairs(study)


def test_other_kinds_of_pairs_come_from_files_and_need_no_stage(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    assert generate_pairs(study) is None
    assert not study.path("pairs").exists()
    assert part_file(study, "preferences") == study.path("data", "preferences.parquet")
