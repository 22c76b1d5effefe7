"""The panels in a real JupyterLab: shown by a notebook, used with mouse and keys."""

import time
from collections.abc import Callable

import pytest

from lib.viewers.votes import Vote, read_votes
from tests.browser.browsers import Lab, run_all_cells
from tests.viewers.viewer_rows import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    "import time\n"
    "from viewer_rows import small_systems\n"
    "from lib.runtime.files import append_jsonl\n"
    "from lib.viewers.show import show_candidates, show_compare, show_vote\n"
    "from lib.viewers.playground_panel import show_playground\n"
    "from lib.viewers.training_panel import live_curves\n"
    "systems = small_systems()\n"
    "def stream(prompt, system, temperature, top_k, n):\n"
    "    while prompt == 'Never stop':\n"
    "        time.sleep(0.02)\n"
    "        yield 0, 'still talking'\n"
    "    for length in range(1, 4):\n"
    "        for candidate in range(n):\n"
    "            yield candidate, f'{system} at {temperature}: ' + 'word ' * length\n"
    "def score(prompt, texts):\n"
    "    return {'selector': [float(len(text)) for text in texts]}",
    "show_compare(systems, judges=['judge'], a='sft', b='dpo')",
    "show_vote(systems, 'votes.jsonl', judges=['judge'], a='sft', b='dpo')",
    "show_candidates(systems, judges=['judge'])",
    "show_playground(stream, score, ['sft', 'dpo'])",
    "with live_curves('metrics.jsonl'):\n"
    "    for step in range(20):\n"
    "        append_jsonl('metrics.jsonl', {'step': step, 'split': 'train',\n"
    "                                       'loss': 1 / (step + 1)})\n"
    "    append_jsonl('metrics.jsonl', {'step': 20, 'split': 'validation', 'loss': 0.05})",
    "from viewer_rows import hostile_systems\n"
    "hostile = hostile_systems()\n"
    "show_compare(hostile, judges=['judge'], a='plain')",
    "from viewer_rows import HOSTILE\n"
    "latex = [row for row in hostile['plain'] if row['prompt'] == HOSTILE['latex']]\n"
    "show_candidates({'plain': latex}, interactive=False)",
]


@pytest.fixture(scope="module")
def votes(lab: Lab) -> object:
    return lab.root / "votes.jsonl"


@pytest.fixture
def page(lab: Lab, open_lab: Callable) -> object:
    lab.write("panels.ipynb", CELLS)
    page = open_lab("panels.ipynb")
    run_all_cells(page)
    return page


def cell(page: object, place: int) -> object:
    """The output area of one code cell, scrolled into view."""
    found = page.locator(".jp-CodeCell").nth(place).locator(".jp-OutputArea").first
    found.scroll_into_view_if_needed()
    return found


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_panels_work_in_jupyterlab(
    page: object, lab: Lab, votes: object, capsys: pytest.CaptureFixture[str]
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
    compare.get_by_role("button", name="hit the limit").first.click()
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
    pool.get_by_role("button", name="0.6", exact=True).click()

    play = cell(page, 4)
    play.get_by_label("Prompt").fill("Say something")
    play.get_by_role("button", name="Answer").click()
    play.get_by_text("dpo at 0.6: word word word").first.wait_for()
    play.get_by_text("chosen", exact=True).wait_for()
    play.get_by_label("Prompt").fill("Never stop")
    play.get_by_role("button", name="Answer").click()
    play.get_by_text("still talking").first.wait_for()
    play.get_by_role("button", name="Stop").click()
    play.get_by_text("stopped after").wait_for()

    assert cell(page, 5).locator("svg circle").count() == 1

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    hostile = cell(page, 6)
    for _ in HOSTILE:
        hostile.get_by_role("button", name="j Next").click()
    hostile.locator(".id", has_text=list(HOSTILE)[-1]).wait_for()
    assert page.evaluate("document.body.dataset.planted") is None
    assert [url for url in requests if lab.base not in url] == []
    assert HOSTILE["latex"] in cell(page, 7).locator(".answer .text").inner_text()
    with capsys.disabled():
        print(f"\na step of the compare panel in JupyterLab: {max(seconds) * 1000:.0f} ms at most")


def test_keys_pressed_in_a_panel_are_no_commands_of_jupyterlab(page: object) -> None:
    compare, cells = cell(page, 1), page.locator(".jp-Cell").count()
    compare.locator(".prompt").first.click()
    for key in "jxddab1":  # next; for JupyterLab: cut, delete, a new cell, a heading
        page.keyboard.press(key)
    compare.locator(".id", has_text="p1").wait_for()
    compare.get_by_label("Left").focus()
    page.keyboard.press("s")  # in a list of choices it goes to the first one that starts so
    compare.get_by_role("button", name="Swap").focus()
    page.keyboard.press("x")
    assert page.locator(".jp-Cell").count() == cells
    assert page.locator(".jp-MarkdownCell").count() == 0


def test_votes_from_an_earlier_kernel_are_resumed(page: object, votes: object) -> None:
    before = len(read_votes(votes))
    assert isinstance(read_votes(votes)[0], Vote)
    cell(page, 2).get_by_text(f"{before} of 4 judged").wait_for()
