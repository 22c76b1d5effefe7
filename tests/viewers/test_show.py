from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import pytest

from lib.viewers import show
from lib.viewers.show import is_live, show_candidates, show_compare, show_vote
from lib.viewers.votes import Vote, append_vote
from tests.viewers.viewer_rows import hostile_systems, small_systems


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    seen: list = []
    monkeypatch.setattr(show, "display", seen.append)
    return seen


@pytest.mark.parametrize("call", [
    lambda path, live: show_compare(small_systems(), interactive=live),
    lambda path, live: show_candidates(small_systems(), interactive=live),
    lambda path, live: show_vote(small_systems(), path, interactive=live),
], ids=["compare", "candidates", "vote"])
def test_headless_runs_show_html_and_live_ones_a_widget(
    call: Callable[[Path, bool], None], shown: list, tmp_path: Path
) -> None:
    call(tmp_path / "votes.jsonl", False)
    call(tmp_path / "votes.jsonl", True)
    assert not isinstance(shown[0], widgets.Widget)
    assert "<div" in shown[0].data
    assert isinstance(shown[1], widgets.Widget)
    assert "viewerPanelKeys" in shown[2].data


def test_the_static_table_has_the_largest_gaps_first(shown: list) -> None:
    show_compare(small_systems(), judges=["judge"], a="sft", b="dpo", interactive=False)
    html = shown[0].data
    assert "+2.50" in html
    assert html.index("Question p3?") < html.index("Question p1?")


def test_the_static_table_escapes_the_answers(shown: list) -> None:
    show_compare(hostile_systems(), interactive=False)
    assert "<script" not in shown[0].data
    assert "<img" not in shown[0].data


def test_the_static_vote_counts_the_votes(shown: list, tmp_path: Path) -> None:
    append_vote(tmp_path / "votes.jsonl", Vote("p", "sft", "dpo", "left"))
    show_vote(small_systems(), tmp_path / "votes.jsonl", interactive=False)
    assert "1 votes in votes.jsonl" in shown[0].data


def test_without_a_kernel_nothing_is_live() -> None:
    assert not is_live()
    assert is_live(True)


def test_the_runners_variable_makes_a_kernel_headless(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        kernel = object()

    monkeypatch.setattr(show, "get_ipython", lambda: Shell())
    assert is_live()
    monkeypatch.setenv("STUDY_HEADLESS", "1")
    assert not is_live()
