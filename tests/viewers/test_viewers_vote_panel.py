import re
from pathlib import Path

import pytest
from viewer_rows import many_systems, small_systems

from lib.viewers.blind import sides
from lib.viewers.vote_panel import VotePanel, vote_panel
from lib.viewers.votes import read_votes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.jsonl"


@pytest.fixture
def panel(path: Path) -> VotePanel:
    return vote_panel(small_systems(), path, judges=["judge"], a="sft", b="dpo", seed=1)


def test_a_click_writes_the_vote_at_once(panel: VotePanel, path: Path) -> None:
    id = panel.current
    panel.note.value = "neither"
    panel.verdicts["both bad"].click()
    vote = read_votes(path)[0]
    assert (vote.id, vote.vote, vote.seed, vote.note) == (id, "both bad", 1, "neither")
    assert (vote.left, vote.right) == sides("sft", "dpo", id, 1)
    assert panel.current != id


def test_keys_vote_like_the_buttons(panel: VotePanel, path: Path) -> None:
    panel.typed.value = "1"
    panel.typed.value = "3"
    assert [vote.vote for vote in read_votes(path)] == ["left", "tie"]


def test_the_answers_stand_on_the_drawn_sides(panel: VotePanel) -> None:
    left, right = sides("sft", "dpo", panel.current, 1)
    pair = panel.pairs[panel.current]
    texts = {"sft": pair.a.text, "dpo": pair.b.text}
    shown = re.sub("<[^>]*>", "", panel.body.value)
    assert shown.index(texts[left].strip()) < shown.index(texts[right].strip())


def test_names_and_scores_are_hidden(panel: VotePanel) -> None:
    assert not [word for word in ("sft", "dpo", "judge", "selector") if word in panel.body.value]


def test_identical_answers_are_not_put_to_the_vote(panel: VotePanel) -> None:
    assert "p2" not in panel.pairs
    assert "0 of 4 judged" in panel.state.value


def test_a_new_panel_goes_on_where_the_last_one_stopped(panel: VotePanel, path: Path) -> None:
    for _ in range(2):
        panel.verdicts["left"].click()
    again = vote_panel(small_systems(), path, a="sft", b="dpo", seed=1)
    assert "2 of 4 judged" in again.state.value
    assert again.current == panel.current


def test_each_rater_has_their_own_queue(panel: VotePanel) -> None:
    panel.verdicts["left"].click()
    panel.rater.value = "Ada"
    assert "0 of 4 judged" in panel.state.value


def test_a_skipped_prompt_comes_back_at_the_end(panel: VotePanel) -> None:
    first = panel.current
    panel.skip.click()
    for _ in range(3):
        assert panel.current != first
        panel.verdicts["tie"].click()
    assert panel.current == first


def test_undo_takes_the_last_vote_back_and_shows_its_prompt(panel: VotePanel) -> None:
    first = panel.current
    panel.verdicts["left"].click()
    panel.undo.click()
    assert panel.current == first
    assert "0 of 4 judged" in panel.state.value


def test_when_all_is_judged_there_is_nothing_to_press(panel: VotePanel) -> None:
    for _ in range(4):
        panel.verdicts["right"].click()
    assert "Thank you" in panel.body.value
    assert all(button.disabled for button in panel.verdicts.values())
    panel.typed.value = "1"
    assert "4 of 4 judged" in panel.state.value


def test_systems_are_told_after_a_vote_only_to_those_who_ask(panel: VotePanel) -> None:
    panel.verdicts["left"].click()
    assert panel.last.value == ""
    panel.reveal.value = True
    panel.verdicts["left"].click()
    assert "A was" in panel.last.value


def test_a_damaged_line_is_reported_in_the_panel(panel: VotePanel, path: Path) -> None:
    path.write_text("{broken\n")
    panel.verdicts["left"].click()
    assert "line 1 is no vote" in panel.state.value
    assert "1 of 4 judged" in panel.state.value


def test_results_come_after_twenty_votes_with_each_models_agreement(path: Path) -> None:
    panel = vote_panel(many_systems(25, 2, words=20), path, judges=["judge"])
    for _ in range(19):
        panel.verdicts["left"].click()
    assert "after 20 votes" in panel.results.value
    panel.verdicts["left"].click()
    assert "By 20 votes system1 wins" in panel.results.value
    assert "judge agrees in" in panel.results.value
    assert "kappa" in panel.results.value
