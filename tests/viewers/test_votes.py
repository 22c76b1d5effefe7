"""Votes on disk: each is kept, whatever is killed, damaged or written beside it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import ROOT
from lib.viewers.votes import Vote, append_vote, read_votes

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
    b'{"id": ["p9"], "left": "a", "right": "b", "vote": "tie"}',
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
    voter.kill()
    voter.wait()
    reports: list[str] = []
    votes = read_votes(path, reports.append)
    assert [vote.id for vote in votes] == [f"p{number}" for number in range(len(votes))]
    assert reports == []


def test_votes_that_the_page_downloaded_are_read_beside_the_file_and_counted_once(
    path: Path
) -> None:
    append_vote(path, Vote("p2", "sft", "dpo", "left", time="2026-01-02T00:00:00.000+00:00"))
    download = path.with_name("votes (1).jsonl")
    append_vote(download, Vote("p1", "sft", "dpo", "tie", time="2026-01-01T00:00:00.000Z"))
    append_vote(download, read_votes(path)[-1])
    assert [vote.id for vote in read_votes(path)] == ["p1", "p2"]


def test_a_line_has_the_fields_that_the_page_downloads(path: Path) -> None:
    append_vote(path, Vote("p1", "sft", "dpo", "left"))
    assert set(json.loads(path.read_text())) == {
        "id", "left", "right", "vote", "rater", "seed", "seconds", "note", "time", "version"}
