"""Prompts of one's own: every system answers, both roles score, and no held-out prompt is asked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.data.cells import SchemaError
from lib.runtime.files import FileError, read_jsonl, write_json
from lib.study.pools import asked, sampled
from lib.study.pools.asked import answer_prompts
from lib.study.run import Study, StudyError, open_study
from tests.inference.fake_server import FakeServer, choice


class ByLength:
    """Both roles score an answer by its length, the judge the other way round."""

    def __init__(self, *_: object, **__: object) -> None:
        """Nothing is loaded."""

    def score(self, conversations: list) -> dict[str, list[float]]:
        lengths = [float(len(turns[-1]["content"])) for turns in conversations]
        return {"selector": lengths, "judge": [-length for length in lengths]}

    def lacks_all(self, _: list) -> bool:
        return True


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A run whose policies a server answers for: the longest candidate is the third of each."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sampled, "Scorer", ByLength)
    monkeypatch.setattr(asked, "fit_rewards", lambda _, says: None)
    fake = FakeServer()
    fake.behave = lambda request, call: (200, {}, json.dumps({
        "usage": {"prompt_tokens": 9}, "choices": [
            choice(f"{request['model']} {'word ' * (9 if place == 2 else place)}", "stop")
            for place in range(request["n"])]}))
    study = open_study("smoke", str(tmp_path / "run"),
                       {"sampling.server": fake.settings.base_url, "sampling.samples": 4})
    for policy in ("sft", "dpo"):
        write_json(study.path(policy, "manifest.json"), {"outputs": {"model": policy}})
    yield study
    fake.http.shutdown()
    fake.http.server_close()


def prompts_file(folder: Path, *prompts: str) -> str:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts),
                    encoding="utf-8")
    return str(path)


def test_every_system_answers_every_prompt_with_both_scores(study: Study, tmp_path: Path) -> None:
    rows = answer_prompts(study, prompts_file(tmp_path, "Why is the sky blue?", "Name a prime."))
    assert [row["system"] for row in rows[:5]] == [
        "base", "sft", "sft+bon4@0.6", "dpo", "dpo+bon4@0.6"]
    assert [row["prompt"] for row in rows] == [
        "Why is the sky blue?", "", "", "", "", "Name a prime.", "", "", "", ""]
    best, single = rows[4], rows[3]
    assert best["answer"].count("word") == 9  # the selector's choice of the first four
    assert single["answer"].count("word") == 4  # the fifth candidate, from which nothing was picked
    assert best["selector"] > single["selector"]
    assert best["judge"] < single["judge"]


def test_the_answers_are_kept_until_the_prompts_change(
        study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = answer_prompts(study, prompts_file(tmp_path, "Name a prime."))
    assert answer_prompts(study, prompts_file(tmp_path, "Name a prime.")) == first
    assert "asked: found" in capsys.readouterr().out
    again = answer_prompts(study, prompts_file(tmp_path, "Name another."))
    assert again[0]["prompt"] == "Name another."
    assert "asked: made again, because prompts changed" in capsys.readouterr().out
    assert len(read_jsonl(study.path("asked", "pools", "base@0.6.jsonl"))) == 1


def test_policies_that_were_not_trained_are_told_before_anything_is_sampled(
        study: Study, tmp_path: Path) -> None:
    study.path("dpo", "manifest.json").unlink()
    with pytest.raises(StudyError, match="dpo is not finished; run notebook 03_dpo first"):
        answer_prompts(study, prompts_file(tmp_path, "Name a prime."))


def test_more_prompts_than_an_illustration_has_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has 21 prompts, and this is an illustration of at most"):
        answer_prompts(study, prompts_file(tmp_path, *(f"Question {n}?" for n in range(21))))


def test_a_file_that_is_not_there_or_holds_no_prompts_is_one_sentence(
        study: Study, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere"):
        answer_prompts(study, str(tmp_path / "nowhere.jsonl"))
    (tmp_path / "other.jsonl").write_text('{"title": "no prompt"}\n', encoding="utf-8")
    with pytest.raises(SchemaError, match="prompt"):
        answer_prompts(study, str(tmp_path / "other.jsonl"))
