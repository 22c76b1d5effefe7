"""A reward model of a backbone's features and a head: what it scores, and with whom it reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.inference.rewards.heads import features
from lib.inference.rewards.heads.answers import scored_answers
from lib.inference.rewards.heads.embedded import EmbeddedRewardModel, score_with_all
from lib.inference.rewards.heads.features import POOLING, Backbone, load_backbone
from lib.inference.rewards.heads.head import Head, fit_head
from lib.inference.rewards.heads.views import READ, SHOWN, view_features
from lib.modeling.smoke import smoke_model
from lib.runtime.progress import Progress
from tests.inference.rewards.heads.test_features import CONVERSATIONS, conversation


def head_for(backbone: Backbone, seed: int = 0) -> Head:
    draw = np.random.default_rng(seed)
    rows = [{"prompt": f"What is {n}?", "answers": [
        {"text": "It is a number. " * (n + m), "score": float(draw.random())} for m in range(1, 4)]}
        for n in range(6)]
    answers = scored_answers(rows, "rows")
    return fit_head(view_features(backbone, answers.conversations, (2,)), answers.pairs,
                    answers.groups, answers.gaps, layers=(2,), views=READ, pooling=POOLING,
                    backbone=backbone.digest, fitted_on="rows", data_hash=answers.digest)


def test_an_answer_beyond_the_context_is_missing_not_a_number(backbone: Backbone) -> None:
    model = EmbeddedRewardModel("judge", head_for(backbone), backbone)
    long = conversation("Count.", "one two " * 2000)
    scores = model.score([CONVERSATIONS[0], long, CONVERSATIONS[1]])
    assert [score is None for score in scores] == [False, True, False]
    assert "longer than the backbone's 1024 tokens" in dict(model.stream([long]))[0].reason


def test_an_empty_answer_is_scored_by_its_end_of_turn(backbone: Backbone) -> None:
    model = EmbeddedRewardModel("judge", head_for(backbone), backbone)
    assert isinstance(model.score([conversation("Hi", "")])[0], float)


def test_no_conversations_are_no_scores(backbone: Backbone) -> None:
    assert EmbeddedRewardModel("judge", head_for(backbone), backbone).score([]) == []


def test_a_conversation_that_ends_with_the_user_is_an_error(backbone: Backbone) -> None:
    model = EmbeddedRewardModel("judge", head_for(backbone), backbone)
    with pytest.raises(ValueError, match="ends with 'user'; a reward model scores"):
        model.score([[{"role": "user", "content": "Hi"}]])


def test_two_heads_share_one_pass_and_score_as_they_do_alone(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [EmbeddedRewardModel(name, head_for(backbone, seed), backbone)
              for seed, name in enumerate(("selector", "judge"))]
    alone = {model.name: model.score(CONVERSATIONS) for model in models}
    read: list[int] = []
    original = features.hidden_states
    monkeypatch.setattr(features, "hidden_states", lambda model, batch, layers: (
        read.append(batch.answers), original(model, batch, layers))[1])
    assert score_with_all(models, CONVERSATIONS) == alone
    assert sum(read) == 2 * len(CONVERSATIONS)  # once a view, not once a head
    assert alone["selector"] != alone["judge"]


def test_progress_says_which_heads_read_and_in_which_view(
        backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {each[0]["content"]: "A number." for each in CONVERSATIONS}
    judge = replace(head_for(backbone), views=("prompt_then_answer", SHOWN))
    models = [EmbeddedRewardModel("selector", head_for(backbone), backbone),
              EmbeddedRewardModel("judge", judge, backbone, references=asked)]
    told = []
    monkeypatch.setattr(features, "Progress", lambda *arguments: (
        told.append(Progress(*arguments)), told[-1])[1])
    score_with_all(models, CONVERSATIONS)
    assert [each.description for each in told] == [
        "reading answers (for selector and judge, prompt then answer)",
        "reading answers (for selector, answer then prompt)",
        "reading answers (for judge, reference then answer)"]


def test_a_head_refuses_another_backbone(backbone: Backbone, tmp_path: Path) -> None:
    other = smoke_model(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="fit the head again"):
        EmbeddedRewardModel("judge", head_for(backbone), load_backbone(other))


def test_a_head_refuses_views_that_are_no_longer_known(backbone: Backbone) -> None:
    old = replace(head_for(backbone), views=("answered", "asked"))
    with pytest.raises(ValueError, match="fitted on the views answered, asked, and the views are "
                                         "now prompt_then_answer, .*; fit the head again"):
        EmbeddedRewardModel("judge", old, backbone)
