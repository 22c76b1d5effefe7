"""The panel of a notebook without its browser: what it answers to messages."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page_data import page_data
from lib.viewers.panel import AnswersPanel
from lib.viewers.rows import join
from lib.viewers.votes import read_votes
from tests.viewers.viewer_rows import small_systems

VOTE = {"id": "p0", "left": "sft", "right": "dpo", "vote": "left"}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[AnswersPanel, list]]:
    """A panel of two systems, and what it sends to its browser."""
    def show(votes: Path | None = None) -> tuple[AnswersPanel, list]:
        collection, said = join(small_systems(), judges=["judge"]), []
        panel = AnswersPanel(collection, page_data(collection, votes=False), votes)
        monkeypatch.setattr(panel, "send", lambda message, buffers=None: said.append(
            (message, buffers)))
        return panel, said
    return show


def test_a_view_gets_the_data_when_it_is_ready_and_an_answer_to_its_ping(shown: Callable) -> None:
    panel, said = shown()
    for kind in ("ping", "ready"):
        panel._hear({"kind": kind})
    assert [message for message, _ in said] == [{"kind": "pong"}, {"kind": "data"}]
    packed, = said[1][1]
    assert gzip.decompress(packed).decode() == page_data(panel.collection, votes=False)


def test_a_vote_is_in_the_file_before_the_panel_counts_it(shown: Callable, tmp_path: Path) -> None:
    panel, said = shown(tmp_path / "votes.jsonl")
    panel.heard({"kind": "vote", "vote": VOTE | {"rater": "Ada"}})
    [vote] = read_votes(tmp_path / "votes.jsonl")
    assert (vote.id, vote.vote, vote.rater) == ("p0", "left", "Ada")
    assert panel.votes == [vars(vote)]
    assert said == []


@pytest.mark.parametrize(("vote", "reason"), [
    (VOTE | {"right": "dpo+bon4@0.6"}, "sft and dpo+bon4@0.6 are not both compared here"),
    (VOTE | {"vote": "middle"}, "vote"), ({}, "id"), (None, "None"), ("left", "str")])
def test_what_is_no_vote_here_is_refused_in_one_sentence_and_not_written(
        vote: object, reason: str, shown: Callable, tmp_path: Path) -> None:
    panel, said = shown(tmp_path / "votes.jsonl")
    panel.heard({"kind": "vote", "vote": vote})
    [(message, _)] = said
    assert message["kind"] == "refused"
    assert reason in message["reason"]
    assert "\n" not in message["reason"]
    assert panel.votes == read_votes(tmp_path / "votes.jsonl") == []


def test_a_vote_in_a_panel_without_a_file_of_votes_is_refused_in_one_sentence(
        shown: Callable) -> None:
    panel, said = shown()
    panel.heard({"kind": "vote", "vote": VOTE})
    assert said == [({"kind": "refused", "reason":
                      "this panel keeps no votes; show it with a file of votes"}, None)]


def test_a_panel_names_its_file_of_votes_as_it_was_typed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    collection = join(small_systems(), judges=["judge"])
    for given, told in ((tmp_path / "runs" / "x.jsonl", Path("runs", "x.jsonl")),
                        (tmp_path.parent / "x.jsonl", tmp_path.parent / "x.jsonl"), (None, "")):
        panel = AnswersPanel(collection, page_data(collection), given)
        assert panel.setup["votes"] == str(told)
