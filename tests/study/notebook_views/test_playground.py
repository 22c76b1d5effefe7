"""The run's policies and reward models behind the playground."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.inference.rewards import ends_cut_off
from lib.study.notebook_views import playground
from lib.study.run import open_study
from lib.viewers.playground import Question
from tests.study.stand_ins import qwen_folder


def test_answers_are_scored_as_cut_where_the_token_limit_cut_them(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(playground, "Scorer", lambda study: SimpleNamespace(score=lambda turns: (
        seen.extend(turns), {"judge": [0.0] * len(turns), "selector": [1.0] * len(turns)})[1]))
    qwen_folder(tmp_path / "model")
    players = playground.Players(open_study("smoke", str(tmp_path / "run"), {
        "model.name": str(tmp_path / "model"), "sampling.max_new_tokens": 3}))
    players.load("base")
    answers = {number: (text, cut_off) for number, text, cut_off in players.stream(
        "base", Question("hello", 0.6, 0, 2), lambda: False)}
    assert list(answers.values()) == [(text, True) for text, _ in answers.values()]
    scores = players.score("hello", [answers[0], ("Hello.", False)])
    assert list(scores) == ["selector", "judge"]
    assert [ends_cut_off(turns) for turns in seen] == [True, False]
