"""The panels in a real JupyterLab: shown by a notebook, used with mouse and keys."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.viewers.votes import Vote, append_vote, read_votes
from tests.browser.browsers import (
    PATIENCE,
    WINDOW,
    Lab,
    open_notebook,
    run_all_cells,
    set_theme,
)
from tests.viewers.viewer_rows import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    "import time\n"
    "from viewer_rows import hostile_systems, small_systems\n"
    "from lib.runtime.files import append_jsonl\n"
    "from lib.viewers.show import show_candidates, show_compare, show_vote\n"
    "from lib.viewers.playground import show_playground\n"
    "from lib.viewers.training_panel import live_curves\n"
    "systems = small_systems()\n"
    "class Players:\n"
    "    def load(self, system):\n"
    "        time.sleep(0.2)\n"
    "    def limit(self, system, prompt):\n"
    "        return 512 if 'long' in prompt else None\n"
    "    def stream(self, system, question, stopped):\n"
    "        while 'Never stop' in question.prompt and not stopped():\n"
    "            time.sleep(0.02)\n"
    "            yield 0, 'still talking', False\n"
    "        for length in range(1, 4):\n"
    "            for candidate in range(question.n):\n"
    "                text = f'{system} at {question.temperature}: ' + 'word ' * length\n"
    "                yield candidate, text, False\n"
    "    def score(self, prompt, answers):\n"
    "        return {'selector': [float(len(text)) for text, _ in answers]}",
    "show_compare(systems, judges=['judge'], a='sft', b='dpo')",
    "show_vote(systems, 'votes.jsonl', judges=['judge'], a='sft', b='dpo')",
    "show_candidates(systems, judges=['judge'])",
    "show_playground(Players(), ['sft', 'dpo'])",
    "with live_curves('metrics.jsonl'):\n"
    "    for step in range(20):\n"
    "        append_jsonl('metrics.jsonl', {'step': step, 'split': 'train',\n"
    "                                       'loss': 1 / (step + 1)})\n"
    "    append_jsonl('metrics.jsonl', {'step': 20, 'split': 'validation', 'loss': 0.05})",
    "show_compare(hostile_systems(), judges=['judge'], a='plain')",
    "show_compare(systems, judges=['judge'], interactive=False)",
    "from lib.analysis import figures\n"
    "from lib.analysis.figures.teaching import packed_row_figure\n"
    "figures.use_study_renderer()\n"
    "packed_row_figure([(6, [5, 7])]).show()",
]


@pytest.fixture
def votes(lab: Lab) -> Path:
    """The file that the notebook votes into, which is not there yet."""
    path = lab.root / "votes.jsonl"
    path.unlink(missing_ok=True)
    return path


@pytest.fixture
def earlier(votes: Path) -> list[Vote]:
    """Votes that are in the file before the notebook runs."""
    given = [Vote("p0", "sft", "dpo", "left"), Vote("p1", "dpo", "sft", "both bad")]
    for vote in given:
        append_vote(votes, vote)
    return given


@pytest.fixture(scope="module")
def opened(lab: Lab, browser: object) -> Iterator[object]:
    """One page and one kernel for most tests of this file, because both take long to start."""
    lab.write("panels.ipynb", CELLS)
    context = browser.new_context(viewport=WINDOW)
    yield open_notebook(context, lab, "panels.ipynb")
    context.close()


@pytest.fixture
def page(lab: Lab, votes: Path, opened: object) -> object:
    """The page with every cell run anew, in the window and the theme in which it was opened."""
    (lab.root / "metrics.jsonl").unlink(missing_ok=True)
    opened.set_viewport_size(WINDOW)
    set_theme(opened, "JupyterLab Light")
    run_all_cells(opened)
    return opened


@pytest.fixture
def own_page(lab: Lab, votes: Path, open_lab: Callable) -> object:
    """The same in a page with a kernel of its own, to restart or to end."""
    lab.write("own.ipynb", CELLS)
    page = open_lab("own.ipynb")
    run_all_cells(page)
    return page


def cell(page: object, place: int) -> object:
    """The output area of one code cell, scrolled into view."""
    found = page.locator(".jp-CodeCell").nth(place).locator(".jp-OutputArea").first
    found.scroll_into_view_if_needed()
    return found


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE / 1000) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_panels_work_in_jupyterlab(
    page: object, lab: Lab, votes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare = cell(page, 1)
    compare.get_by_role("button", name="j Next").click()
    compare.locator(".id", has_text="p1").wait_for()
    seconds = []
    for key, id in zip("jjk", ("p2", "p3", "p2"), strict=True):
        started = time.monotonic()
        page.keyboard.press(key)
        compare.locator(".id", has_text=id).wait_for()
        seconds.append(time.monotonic() - started)
    compare.get_by_role("button", name="hit the limit").click()
    compare.get_by_text("1 of 5 prompts").wait_for()

    ballot = cell(page, 2)
    ballot.get_by_role("button", name="1 A is better").click()
    wait_until(lambda: len(read_votes(votes)) == 1)
    page.keyboard.press("4")
    wait_until(lambda: [vote.vote for vote in read_votes(votes)] == ["left", "both bad"])
    ballot.get_by_text("2 of 4 judged").wait_for()

    pool = cell(page, 3)
    pool.get_by_role("button", name="sft", exact=True).click()
    pool.get_by_text("#2", exact=True).wait_for()

    assert cell(page, 5).locator("svg circle").count() == 1

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    hostile = cell(page, 6)
    for _ in HOSTILE:
        hostile.get_by_role("button", name="j Next").click()
    hostile.locator(".id", has_text=list(HOSTILE)[-1]).wait_for()
    assert page.evaluate("document.body.dataset.planted") is None
    assert [url for url in requests if lab.base not in url] == []

    frame = cell(page, 7).frame_locator("iframe")
    frame.locator("#next").click()
    frame.locator(".id", has_text="p1").wait_for()
    assert page.get_by_text("This panel needs the kernel").filter(visible=True).count() == 0
    with capsys.disabled():
        print(f"\na step of the compare panel in JupyterLab: {max(seconds) * 1000:.0f} ms at most")


def test_the_playground_streams_and_stops(page: object) -> None:
    play = cell(page, 4)
    play.get_by_role("button", name="Answer").click()
    play.get_by_text("Type a prompt and choose at least one system.").wait_for()
    play.get_by_label("Prompt").fill("Say something long")
    play.get_by_role("button", name="Answer").click()
    play.get_by_text("dpo: loading the model…").wait_for()
    play.get_by_text("The prompt was cut: dpo reads its first 512 tokens.").wait_for()
    play.get_by_text("dpo at 0.6: word word word").first.wait_for()
    play.get_by_text("chosen", exact=True).wait_for()
    play.get_by_text("done after").wait_for()
    play.get_by_label("Prompt").fill("Never stop")
    play.get_by_role("button", name="Answer").click()
    assert play.locator(".answer").count() == 0  # the old answers are gone at once
    play.get_by_text("still talking").first.wait_for()
    play.get_by_role("button", name="Stop").click()
    play.get_by_text("stopped after").wait_for()
    assert play.get_by_text("chosen", exact=True).count() == 0


def test_keys_pressed_in_a_panel_are_no_commands_of_jupyterlab(page: object) -> None:
    compare, cells = cell(page, 1), page.locator(".jp-Cell").count()
    compare.locator(".prompt").first.click()
    for key in "jxddab1":  # next; for JupyterLab: cut, delete, a new cell, a heading
        page.keyboard.press(key)
    compare.locator("#a").focus()
    page.keyboard.press("s")  # in a list of choices it goes to the first one that starts so
    compare.get_by_role("button", name="Swap").focus()
    page.keyboard.press("x")
    assert page.locator(".jp-Cell").count() == cells
    assert page.locator(".jp-MarkdownCell").count() == 0


def test_votes_from_an_earlier_kernel_are_resumed(
    earlier: list[Vote], page: object, votes: Path
) -> None:
    assert read_votes(votes) == earlier
    cell(page, 2).get_by_text(f"{len(earlier)} of 4 judged").wait_for()


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_to_complain_about_in_the_panels(
    theme: str, page: object, complaints: Callable
) -> None:
    set_theme(page, theme)
    for place in (1, 2, 3, 4):
        panel = cell(page, place).locator(".panel")
        panel.wait_for()
        assert panel.get_attribute("data-theme") == theme.split()[1].lower()
        cell(page, place).evaluate("(found) => found.setAttribute('data-checked', '')")
    assert complaints(page, "[data-checked]") == []


def test_a_figure_keeps_its_height_in_a_taller_window_and_follows_a_narrower_one(
    page: object
) -> None:
    figure = cell(page, 8).locator(".js-plotly-plot")
    before = figure.bounding_box()
    page.set_viewport_size({"width": 1400, "height": 1300})
    page.wait_for_timeout(1000)
    assert figure.bounding_box()["height"] == before["height"]
    page.set_viewport_size({"width": 1000, "height": 1300})
    wait_until(lambda: figure.bounding_box()["width"] < before["width"])
    assert figure.bounding_box()["height"] == before["height"]


def test_a_kernel_that_was_restarted_is_told_in_the_panels(own_page: object) -> None:
    page = own_page
    cell(page, 1).locator(".panel[data-ready]").wait_for()
    page.evaluate("() => { jupyterapp.commands.execute('kernelmenu:restart'); }")  # it asks first
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    cell(page, 1).locator(".prompt").click()
    cell(page, 4).get_by_role("button", name="Answer").click()
    for place in (1, 4):
        cell(page, place).get_by_text("The kernel does not answer").or_(
            cell(page, place).get_by_text("is gone: run the cell again")).wait_for()


def test_a_saved_notebook_is_small_and_says_without_a_kernel_what_to_do(
    own_page: object, lab: Lab, open_lab: Callable
) -> None:
    page = own_page
    cell(page, 1).locator(".panel[data-ready]").wait_for()
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    path = lab.root / "own.ipynb"
    wait_until(lambda: "viewer-note" in path.read_text(encoding="utf-8"))
    saved = json.loads(path.read_text(encoding="utf-8"))
    panels = [saved["cells"][place]["outputs"] for place in range(1, 5)]
    assert max(len(json.dumps(outputs)) for outputs in panels) < 2_000
    page.evaluate("() => { jupyterapp.commands.execute('kernelmenu:shutdown'); }")
    (lab.root / "again.ipynb").write_text(json.dumps(saved), encoding="utf-8")
    again = open_lab("again.ipynb")
    cell(again, 1).get_by_text("This panel needs the kernel that made it").wait_for()
