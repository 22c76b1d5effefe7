"""One run's judge scores the answers of another; it leaves both runs as they were."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.inference.rewards import conversation
from lib.study.compare.judges import judge_model, scored_again
from lib.study.compare.recorded import recorded_study
from lib.study.reward_models.remote import remote_reward_model
from lib.study.run import Study, StudyError, open_study
from tests.study.compare.recorded_runs import recorded_run
from tests.study.stand_ins import judge_folder

ANSWERS = [conversation("Why?", text) for text in ("It rains.", "No.", "Because it rains.")]


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[tuple[Study, list[float | None]]]:
    """A run whose judge is a classifier, and the scores of two answers in its open cache."""
    study = open_study("smoke", str(tmp_path / "run"), {
        "rewards.judge": str(judge_folder(tmp_path / "judge"))})
    model = remote_reward_model(study, study.profile.rewards.judge)
    yield study, model.score(ANSWERS[:2])
    model.cache.connection.close()


def test_a_judge_reads_what_its_run_had_no_score_of_and_writes_nothing_there(
        judged: tuple[Study, list], tmp_path: Path) -> None:
    study, known = judged
    before = files_of(study)
    model = judge_model(study, "judge", tmp_path / "scratch")
    assert model.lacking(ANSWERS) == ANSWERS[2:]
    scores = model.score(ANSWERS)
    assert scores[:2] == known
    assert scores[2] not in (None, *known)
    assert model.lacking(ANSWERS) == []
    assert files_of(study) == before


def files_of(study: Study) -> dict[str, bytes]:
    """Of its score cache, whose log (`-wal`) another process may hold open."""
    return {file.name: file.read_bytes() for file in study.path("rewards").iterdir()
            if not file.name.endswith("-shm")}


def test_a_judge_that_is_gone_is_one_sentence_that_names_the_other_one(
        judged: tuple[Study, list], tmp_path: Path) -> None:
    study, _ = judged
    shutil.rmtree(study.profile.rewards.judge)
    with pytest.raises(StudyError, match="the judge of .*run cannot score here: the reward model: "
                                         "there is no folder .*, or take the other run's judge$"):
        judge_model(study, "judge", tmp_path / "scratch")


def test_heads_that_were_fitted_on_another_backbone_are_one_sentence_too(tmp_path: Path) -> None:
    study = recorded_study(recorded_run(tmp_path / "run"))
    with pytest.raises(StudyError, match="the judge of .*run cannot score here: .*fit the head "
                                         "again.*, or take the other run's judge$"):
        judge_model(study, "judge", tmp_path / "scratch")


def test_every_candidate_has_its_own_new_score_in_that_role_alone() -> None:
    class ByLength:
        """A judge for which a longer answer is better."""

        def score(self, conversations: list) -> list[float | None]:
            return [float(len(turns[-1]["content"])) for turns in conversations]
    rows = [{"id": name, "prompt": "Why?", "candidates": [
        {"text": text, "finish": "stop", "rewards": {"judge": 0.5, "selector": 2.0}}
        for text in texts]} for name, texts in (("p", ("a", "bbb")), ("q", ("cc",)))]
    found = scored_again(rows, "judge", ByLength())
    assert [[each["rewards"] for each in row["candidates"]] for row in found] == [
        [{"judge": 1, "selector": 2}, {"judge": 3, "selector": 2}], [{"judge": 2, "selector": 2}]]
    assert rows[0]["candidates"][0]["rewards"]["judge"] == 0.5
