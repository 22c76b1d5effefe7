import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import ROOT
from lib.analysis.statistics.intervals import score_interval
from lib.viewers.votes import (
    Vote,
    agreement_with,
    append_vote,
    human_result,
    last_votes,
    read_votes,
)

VOTER = """
import sys
from lib.viewers.votes import Vote, append_vote
for number in range(200):
    append_vote(sys.argv[1], Vote(f"p{number}", "sft", "dpo", "left", rater=sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.jsonl"


def test_a_vote_comes_back_as_it_was_cast(path: Path) -> None:
    vote = Vote("p1", "sft", "dpo", "both bad", "Ada", 3, 4.2, "neither knows\nanything")
    append_vote(path, vote)
    assert read_votes(path) == [vote]


def test_half_an_emoji_in_a_note_or_name_loses_no_vote(path: Path) -> None:
    vote = Vote("p1", "sft", "dpo", "left", "A\ud83d", note="half \ude00")
    append_vote(path, vote)
    assert read_votes(path) == [vote]


def test_no_file_means_no_votes(path: Path) -> None:
    assert read_votes(path) == []


@pytest.mark.parametrize("damage", [
    b'{"id": "p9", "left"', b"\xff\xfe\x00", b'["a list"]', b'{"id": "p9"}', b"null",
    b'{"id": "p9", "left": "a", "right": "b", "vote": "maybe"}',
])
def test_a_damaged_line_is_reported_and_passed_over(path: Path, damage: bytes) -> None:
    append_vote(path, Vote("p1", "sft", "dpo", "left"))
    with path.open("ab") as file:
        file.write(damage + b"\n")
    append_vote(path, Vote("p2", "sft", "dpo", "right"))
    reports: list[str] = []
    assert [vote.id for vote in read_votes(path, reports.append)] == ["p1", "p2"]
    assert len(reports) == 1
    assert "line 2" in reports[0]


def test_a_line_that_was_cut_off_does_not_swallow_the_next_vote(path: Path) -> None:
    path.write_bytes(b'{"id": "p1", "left": "sf')
    append_vote(path, Vote("p2", "sft", "dpo", "left"))
    assert [vote.id for vote in read_votes(path, lambda line: None)] == ["p2"]


def test_two_processes_do_not_overwrite_each_other(path: Path) -> None:
    voters = [subprocess.Popen([sys.executable, "-c", VOTER, str(path), rater], cwd=ROOT)
              for rater in ("Ada", "Bob")]
    assert [voter.wait() for voter in voters] == [0, 0]
    votes = read_votes(path)
    assert [sum(vote.rater == rater for vote in votes) for rater in ("Ada", "Bob")] == [200, 200]


def test_votes_of_a_killed_process_are_in_the_file(path: Path) -> None:
    endless = VOTER.replace("range(200)", "range(10**9)")
    voter = subprocess.Popen([sys.executable, "-c", endless, str(path), "Ada"], cwd=ROOT)
    while not path.exists() or path.stat().st_size < 2000:
        time.sleep(0.05)
        assert voter.poll() is None
    os.kill(voter.pid, signal.SIGKILL)
    voter.wait()
    reports: list[str] = []
    votes = read_votes(path, reports.append)
    assert [vote.id for vote in votes] == [f"p{number}" for number in range(len(votes))]
    assert reports == []


def test_the_last_word_on_a_prompt_counts_and_an_undone_one_does_not() -> None:
    votes = [Vote("p1", "sft", "dpo", "left"), Vote("p2", "sft", "dpo", "left"),
             Vote("p1", "dpo", "sft", "tie"), Vote("p2", "sft", "dpo", "undo"),
             Vote("p1", "sft", "dpo", "right", rater="Bob"), Vote("p3", "sft", "base", "left")]
    assert {id: vote.vote for id, vote in last_votes(votes, "", "sft", "dpo").items()} == {
        "p1": "tie"}


def test_the_human_win_rate_counts_ties_and_both_bad_half() -> None:
    verdicts = ["left", "right", "tie", "both bad"]
    votes = {verdict: Vote(verdict, "sft", "dpo", verdict) for verdict in verdicts}
    result = human_result(votes, "sft")
    assert (result.wins, result.ties, result.losses, result.win_rate) == (1, 2, 1, 0.5)
    assert (result.low, result.high) == tuple(map(float, score_interval(1, 2, 1)))


def test_no_votes_have_no_win_rate() -> None:
    with pytest.raises(ValueError, match="there are no votes yet"):
        human_result({}, "sft")


def test_agreement_with_a_judge_is_counted_where_the_judge_has_a_score() -> None:
    votes = {str(number): Vote(str(number), "sft", "dpo", "left" if number < 6 else "right")
             for number in range(10)}
    winners = {str(number): "sft" if number < 5 else "dpo" for number in range(9)} | {"9": None}
    found = agreement_with(votes, winners)
    assert (found.n, found.share) == (9, pytest.approx(8 / 9))
    # by hand: chance = 6/9 * 5/9 + 3/9 * 4/9 = 42/81
    assert found.kappa == pytest.approx((8 / 9 - 42 / 81) / (1 - 42 / 81))


def test_agreement_without_a_common_prompt_is_none() -> None:
    assert agreement_with({"p": Vote("p", "sft", "dpo", "left")}, {"p": None}) is None


def test_a_line_has_the_fields_that_the_page_downloads(path: Path) -> None:
    append_vote(path, Vote("p1", "sft", "dpo", "left"))
    assert set(json.loads(path.read_text())) == {
        "id", "left", "right", "vote", "rater", "seed", "seconds", "note", "time", "version"}
