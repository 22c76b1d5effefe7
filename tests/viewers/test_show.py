"""A cell shows a widget where a kernel is live, and else the whole page."""

from collections.abc import Callable
from html import unescape
from pathlib import Path

import anywidget
import pytest

from lib.viewers import live, page, panel
from lib.viewers.live import is_live
from lib.viewers.rows import ViewerError
from lib.viewers.show import show_candidates, show_compare, show_vote
from tests.viewers.viewer_rows import hostile_systems, small_systems


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    seen: list = []
    for module in (page, panel):
        monkeypatch.setattr(module, "display", seen.append)
    return seen


@pytest.mark.parametrize("call", [
    lambda path, live: show_compare(small_systems(), interactive=live),
    lambda path, live: show_candidates(small_systems(), interactive=live),
    lambda path, live: show_vote(small_systems(), path, interactive=live),
], ids=["compare", "candidates", "vote"])
def test_headless_runs_embed_the_page_and_live_ones_show_a_widget(
    call: Callable[[Path, bool], None], shown: list, tmp_path: Path
) -> None:
    call(tmp_path / "votes.jsonl", False)
    call(tmp_path / "votes.jsonl", True)
    frame, widget, note = shown
    assert 'sandbox="allow-scripts' in frame.data
    assert "Content-Security-Policy" in unescape(frame.data)
    assert isinstance(widget, anywidget.AnyWidget)
    assert "This panel needs the kernel" in note.data


def test_answers_stay_text_in_the_embedded_page(shown: list) -> None:
    show_compare(hostile_systems(), interactive=False)
    assert "<script" not in shown[0].data
    assert "<img" not in shown[0].data


@pytest.mark.parametrize("call", [show_compare, lambda systems: show_vote(systems, "votes.jsonl")])
def test_one_system_cannot_be_compared(call: Callable[[dict], None]) -> None:
    with pytest.raises(ViewerError, match="at least two"):
        call({"sft": small_systems()["sft"]})


def test_without_a_kernel_nothing_is_live() -> None:
    assert not is_live()
    assert is_live(True)


def test_the_runners_variable_makes_a_kernel_headless(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shell:
        kernel = object()

    monkeypatch.setattr(live, "get_ipython", lambda: Shell())
    assert is_live()
    monkeypatch.setenv("STUDY_HEADLESS", "1")
    assert not is_live()
