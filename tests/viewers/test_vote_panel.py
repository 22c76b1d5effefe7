import re
from pathlib import Path

import pytest

from lib.viewers.blind import sides
from lib.viewers.rows import join
from lib.viewers.vote_panel import VotePanel
from lib.viewers.votes import read_votes
from tests.viewers.viewer_rows import HOSTILE, hostile_systems, many_systems, small_systems


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.jsonl"


@pytest.fixture
def panel(path: Path) -> VotePanel:
    return VotePanel(join(small_systems(), judges=["judge"]), path, "sft", "dpo", seed=1)


def test_a_click_writes_the_vote_at_once(panel: VotePanel, path: Path) -> None:
    id = panel.current
    panel.note.value = "neither"
    panel.verdicts["both bad"].click()
    vote = read_votes(path)[0]
    assert (vote.id, vote.vote, vote.seed, vote.note) == (id, "both bad", 1, "neither")
    assert (vote.left, vote.right) == sides("sft", "dpo", id, 1)
    assert panel.current != id


def test_every_button_tells_its_key(panel: VotePanel) -> None:
    buttons = (*panel.verdicts.values(), panel.skip, panel.undo)
    assert [button.tooltip[-3:] for button in buttons] == [
        "(1)", "(2)", "(3)", "(4)", "(s)", "(u)"]


def test_the_answers_stand_on_the_drawn_sides(panel: VotePanel) -> None:
    left, right = sides("sft", "dpo", panel.current, 1)
    pair = panel.pairs[panel.current]
    texts = {"sft": pair.a.text, "dpo": pair.b.text}
    shown = re.sub("<[^>]*>", "", panel.body.value)
    assert shown.index(texts[left].strip()) < shown.index(texts[right].strip())


def test_names_and_scores_are_hidden(panel: VotePanel) -> None:
    assert not [word for word in ("sft", "dpo", "judge", "selector") if word in panel.body.value]


def test_two_open_panels_do_not_overwrite_each_others_votes(panel: VotePanel, path: Path) -> None:
    other = VotePanel(join(small_systems()), path, "sft", "dpo", seed=1)
    panel.verdicts["left"].click()
    other.verdicts["right"].click()
    panel.verdicts["tie"].click()
    assert [vote.vote for vote in read_votes(path)] == ["left", "right", "tie"]
    assert "2 of 4 judged" in panel.state.value  # the first prompt was judged in both


def test_hostile_text_stays_text_on_the_ballot(path: Path) -> None:
    panel = VotePanel(join(hostile_systems()), path)
    for _ in HOSTILE:
        assert not re.search("<(script|img|iframe|a|link|style)[ >]", panel.body.value)
        panel.verdicts["tie"].click()
    assert "Thank you" in panel.body.value


def test_identical_answers_are_not_put_to_the_vote(panel: VotePanel) -> None:
    assert "p2" not in panel.pairs
    assert "0 of 4 judged" in panel.state.value


def test_a_new_panel_goes_on_where_the_last_one_stopped(panel: VotePanel, path: Path) -> None:
    for _ in range(2):
        panel.verdicts["left"].click()
    again = VotePanel(join(small_systems()), path, "sft", "dpo", seed=1)
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
    panel.verdicts["left"].click()
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


def test_a_second_rater_is_told_how_often_the_first_one_agrees(path: Path) -> None:
    panel = VotePanel(join(many_systems(25, 2, words=20)), path)
    for rater, verdict in (("Ada", "left"), ("Bob", "left")):
        panel.rater.value = rater
        for _ in range(20):
            panel.verdicts[verdict].click()
    assert "Ada agrees in 100% of 20, kappa 1.00." in panel.results.value
    assert "who gave no name" not in panel.results.value


def test_results_come_after_twenty_votes_with_each_models_agreement(path: Path) -> None:
    panel = VotePanel(join(many_systems(25, 2, words=20), judges=["judge"]), path)
    for _ in range(19):
        panel.verdicts["left"].click()
    assert "after 20 votes" in panel.results.value
    panel.verdicts["left"].click()
    assert "By 20 votes system1 wins" in panel.results.value
    assert "judge agrees in" in panel.results.value
    assert "kappa" in panel.results.value
