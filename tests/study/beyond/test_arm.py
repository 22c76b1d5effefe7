"""What every arm works with: a budget that is kept before anything is sampled."""

from pathlib import Path

import pytest

from lib.runtime.files import Row
from lib.study.beyond import arm
from lib.study.beyond.arm import ArmError, ArmRun
from lib.study.profiles import load_profile
from lib.study.run import Study

PROMPTS = [{"id": f"p{number}", "prompt": f"Why {number}?", "source": "s"} for number in range(8)]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A run of eight prompts, of which nothing is made."""
    monkeypatch.setattr(ArmRun, "prompts", PROMPTS)
    return Study(load_profile("smoke", {"beyond.samples": 4}), tmp_path)


def sampled(number: int) -> list[Row]:
    return [{"id": "p0", "candidates": [{"tokens": 5, "finish": "stop"}] * number}]


def never(*_: object) -> list[Row]:
    raise AssertionError("answers were sampled beyond the budget")


@pytest.mark.parametrize(("prompts", "samples", "used"), [
    (8, 5, 0), (8, 2, 17), (1, 33, 0), (8, None, 1), (3, 4, 24)])
def test_what_is_beyond_the_budget_is_refused_before_it_is_sampled(
        study: Study, monkeypatch: pytest.MonkeyPatch, prompts: int, samples: int | None,
        used: int) -> None:
    monkeypatch.setattr(arm, "sample_scored", never)
    run = ArmRun(study, "greedy")
    if used:
        run._charge("before", sampled(used))
    with pytest.raises(ArmError, match=r"greedy asks for \d+ answers in all and every arm has 32"):
        run.sample(run.sft, PROMPTS[:prompts], "now", samples)
    assert run.costs()["answers"] == used


def test_the_shared_answers_are_refused_before_they_are_sampled_too(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "shared_answers", never)
    run = ArmRun(study, "greedy")
    run._charge("before", sampled(1))
    with pytest.raises(ArmError, match="asks for 33 answers in all"):
        run.first_answers()


def test_the_whole_budget_may_be_used_and_the_same_answers_again(
        study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "sample_scored", lambda *_: sampled(32))
    run = ArmRun(study, "fair")
    for _ in range(2):  # an interrupted arm asks again for what it has
        run.sample(run.sft, PROMPTS, "now")
        assert run.costs()["answers"] == 32
