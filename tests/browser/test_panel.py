"""The panel of a notebook: the page's views in a widget, votes through the kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page_data import page_data
from lib.viewers.panel import AnswersPanel
from lib.viewers.playground import PlaygroundPanel
from lib.viewers.rows import join
from lib.viewers.votes import Vote, append_vote, read_votes
from tests.viewers.test_playground import Endless, Players
from tests.viewers.viewer_rows import HOSTILE, hostile_systems, small_systems

pytestmark = pytest.mark.browser


def panel_of(systems: dict, votes: Path | None = None, **opened: object) -> AnswersPanel:
    collection = join(systems, judges=["judge"])
    return AnswersPanel(collection, page_data(collection, votes=votes is not None, **opened), votes)


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    return tmp_path / "votes" / "small.jsonl"


@pytest.fixture
def ballot(votes: Path, open_panel: Callable) -> object:
    page = open_panel(panel_of(small_systems(), votes, a="sft", b="dpo", mode="vote")).page
    page.locator(".panel[data-ready]").wait_for()
    return page


def test_the_panel_has_the_views_of_the_page(open_panel: Callable) -> None:
    watched = open_panel(panel_of(small_systems(), a="sft", b="dpo"))
    page = watched.page
    page.locator(".panel[data-ready]").wait_for()
    assert page.get_by_text("sft wins 0.875").count() == 1
    page.get_by_role("button", name="c Candidates").click()
    assert page.locator(".pool .answer").count() == 2
    page.get_by_role("button", name="l List").click()
    assert page.locator("#view tbody tr").count() == 5
    assert page.get_by_role("button", name="v Vote blind").count() == 0  # no file to write to
    assert (watched.requests, watched.errors) == ([], [])


def test_keys_work_after_a_click_and_no_notebook_hears_them(open_panel: Callable) -> None:
    page = open_panel(panel_of(small_systems(), a="sft", b="dpo")).page
    page.evaluate("""() => {
        window.heard = [];
        document.addEventListener('keydown', (event) => window.heard.push(event.key));
    }""")
    page.locator(".prompt").click()
    for key in ("j", "ArrowRight", "k", "x", "Control+s"):
        page.keyboard.press(key)
    page.keyboard.press("j")
    assert page.evaluate("window.heard").count("s") == 1
    assert not {"j", "k", "x", "ArrowRight"} & set(page.evaluate("window.heard"))
    assert page.locator("#output > div").get_attribute("data-lm-suppress-shortcuts") == ""


def test_a_vote_is_on_disk_before_it_is_confirmed(ballot: object, votes: Path) -> None:
    ballot.locator(".prompt").click()
    ballot.keyboard.press("1")
    ballot.get_by_text("1 of 4 judged").wait_for()
    ballot.get_by_text(f"Each vote is written to {votes} at once.", exact=True).wait_for()
    assert [vote.vote for vote in read_votes(votes)] == ["left"]
    ballot.keyboard.press("4")
    ballot.keyboard.press("u")
    ballot.get_by_text("1 of 4 judged").wait_for()
    ballot.get_by_text(f"Each vote is written to {votes} at once.", exact=True).wait_for()
    assert [vote.vote for vote in read_votes(votes)] == ["left", "both bad", "undo"]


def test_votes_of_an_earlier_kernel_and_of_the_page_are_counted(
    votes: Path, open_panel: Callable
) -> None:
    append_vote(votes, Vote("p0", "sft", "dpo", "left"))
    append_vote(votes.with_name("small (1).jsonl"), Vote("p1", "dpo", "sft", "tie"))
    append_vote(votes.with_name("small (1).jsonl"), read_votes(votes)[0])
    page = open_panel(panel_of(small_systems(), votes, a="sft", b="dpo", mode="vote")).page
    page.get_by_text("2 of 4 judged").wait_for()


def test_a_kernel_that_is_gone_is_told_and_takes_no_votes(ballot: object, votes: Path) -> None:
    ballot.evaluate("loseKernel()")
    ballot.get_by_text("The kernel that made this panel is gone: run the cell again.").wait_for()
    assert ballot.get_by_role("button", name="1 A is better").is_disabled()
    ballot.locator(".prompt").click()
    ballot.keyboard.press("1")
    assert "0 of 4 judged" in ballot.locator("#voter").inner_text()
    ballot.keyboard.press("r")  # reading needs no kernel
    assert ballot.locator(".pair .answer").count() == 2
    assert read_votes(votes) == []


def test_a_kernel_that_was_restarted_is_told_to_whoever_touches_the_panel(
    ballot: object
) -> None:
    ballot.clock.install()
    ballot.evaluate("window.dead = true")  # no word of it reaches the page
    ballot.clock.run_for(6000)
    ballot.locator(".prompt").click()
    ballot.clock.run_for(4000)
    ballot.get_by_text("The kernel does not answer: it is busy with another cell").wait_for()


def test_a_vote_that_cannot_be_written_is_told(votes: Path, open_panel: Callable) -> None:
    votes.parent.write_text("a file where the folder should be")
    page = open_panel(panel_of(small_systems(), votes, a="sft", b="dpo", mode="vote")).page
    page.get_by_role("button", name="1 A is better").click()
    page.get_by_text("The vote was not written: cannot write").wait_for()
    page.get_by_text("1 vote not written yet").wait_for()


def test_damaged_lines_are_told_beside_the_ballot(votes: Path, open_panel: Callable) -> None:
    append_vote(votes, Vote("p0", "sft", "dpo", "left"))
    votes.write_text(f"{{broken\n{votes.read_text()}")
    page = open_panel(panel_of(small_systems(), votes, a="sft", b="dpo", mode="vote")).page
    page.get_by_text("line 1 is no vote").wait_for()
    assert "1 of 4 judged" in page.locator("#voter").inner_text()


def test_before_the_data_come_the_panel_says_what_it_waits_for(open_panel: Callable) -> None:
    panel = panel_of(small_systems())
    panel._hear = lambda message: None  # a kernel that is busy
    page = open_panel(panel).page
    page.get_by_text("Waiting for the kernel. It answers when the running cell ends").wait_for()


def test_hostile_text_stays_text_in_the_panel(open_panel: Callable) -> None:
    watched = open_panel(panel_of(hostile_systems(), a="plain"))
    page = watched.page
    page.locator(".prompt").first.click()
    for mode in "rcl":
        page.keyboard.press(mode)
        for _ in HOSTILE:
            page.keyboard.press("j")
    assert page.evaluate("document.body.dataset.planted") is None
    assert (watched.requests, watched.errors) == ([], [])


def test_the_view_is_in_the_widget(open_panel: Callable) -> None:
    panel = panel_of(small_systems(), a="sft", b="dpo")
    page = open_panel(panel).page
    page.get_by_role("button", name="l List").click()
    page.wait_for_timeout(100)
    assert panel.view == "#mode=list"
    again = open_panel(panel).page
    again.locator("#view tbody tr").first.wait_for()


def test_the_saved_widget_holds_no_answers() -> None:
    state = panel_of(hostile_systems()).get_state()
    assert "planted" not in str(state)
    assert len(str(state)) < 100_000


@pytest.mark.parametrize("mode", ["read", "candidates", "vote", "list"])
@pytest.mark.parametrize(("color", "width"), [("black", 1100), ("white", 1100), ("black", 390)])
def test_axe_finds_nothing_to_complain_about(
    mode: str, color: str, width: int, votes: Path, open_panel: Callable, complaints: Callable
) -> None:
    panel = panel_of(small_systems(), votes, a="sft", b="dpo", mode=mode)
    before = f"<h1>Notebook</h1><style>body {{ color: {color} }}</style>"
    page = open_panel(panel, before, viewport={"width": width, "height": 900}).page
    page.locator(".panel[data-ready]").wait_for()
    theme = page.locator(".panel").get_attribute("data-theme")
    assert theme == {"black": "light", "white": "dark"}[color]
    for details in page.locator("details:not([open]) > summary").all():
        if details.is_visible():
            details.click()
    assert complaints(page, "#output") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_playground_clears_old_answers_at_once_and_marks_the_chosen_one(
    open_panel: Callable, complaints: Callable
) -> None:
    page = open_panel(PlaygroundPanel(Players(), ["sft", "dpo"]), "<h1>Notebook</h1>").page
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("Type a prompt and choose at least one system.").wait_for()
    page.get_by_label("Prompt").fill("hello")
    page.get_by_label("sft").check()
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("done after").wait_for()
    assert page.locator(".answer").count() == 8
    assert page.get_by_text("chosen", exact=True).count() == 2
    assert page.get_by_text("sft ␛ says xxxxxxxx").count() == 1
    assert page.get_by_text("cut off at the limit").count() == 2
    assert complaints(page, "#output") == []
    page.evaluate("window.dead = true")  # a kernel that does not answer yet
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("asking the kernel…").wait_for()
    assert page.locator(".answer").count() == 0


def test_the_playground_stops(open_panel: Callable) -> None:
    page = open_panel(PlaygroundPanel(Endless(), ["dpo"])).page
    page.get_by_label("Prompt").fill("hello")
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("still talking").wait_for()
    assert page.get_by_role("button", name="Answer").is_disabled()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped after").wait_for()
    assert page.get_by_text("chosen", exact=True).count() == 0
    assert page.get_by_role("button", name="Answer").is_enabled()


def test_hostile_answers_stay_text_while_they_stream(open_panel: Callable) -> None:
    players = Players()
    players.stream = lambda *_: (
        (place, text, False) for place, text in enumerate(HOSTILE.values()))
    watched = open_panel(PlaygroundPanel(players, ["dpo"]))
    page = watched.page
    page.get_by_label("Prompt").fill(HOSTILE["script"])
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("done after").wait_for()
    assert page.locator(".answer").count() == len(HOSTILE)
    assert page.evaluate("document.body.dataset.planted") is None
    assert (watched.requests, watched.errors) == ([], [])
