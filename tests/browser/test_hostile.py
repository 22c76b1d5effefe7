"""Text of a model is hostile text: none of it runs, none of it loads, all of it can be read.

`tests/faults/hostile_page.py` reads a page of a thousand such prompts.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page import show_page, write_page
from lib.viewers.visible import visible
from tests.faults.hostile_page import hostile, read_all
from tests.viewers.viewer_rows import HOSTILE, hostile_systems

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    return write_page(hostile_systems(), folder / "compare.html", judges=["judge"])


def test_no_planted_script_runs_and_no_request_leaves(path: Path, open_file: Callable) -> None:
    watched = open_file(path, "#a=plain")
    page = watched.page
    for mode in "rclv":
        page.keyboard.press(mode)
        for _ in HOSTILE:
            page.keyboard.press("2" if mode == "v" else "j")
            page.evaluate("document.querySelectorAll('#view details').forEach(open => {"
                          "open.open = true; })")
    page.wait_for_timeout(200)
    assert page.evaluate("document.body.dataset.planted") is None
    assert watched.requests == []
    assert watched.errors == []


@pytest.mark.parametrize("name", [name for name in HOSTILE if HOSTILE[name].strip()])
def test_hostile_text_can_be_read_in_full(name: str, path: Path, open_file: Callable) -> None:
    page = open_file(path, "#a=plain").page
    for _ in range(list(HOSTILE).index(name)):
        page.keyboard.press("j")
    if page.locator(".answer.a .more").count():
        page.locator(".answer.a .more > summary").click()
        page.locator(".answer.a .more .text").wait_for()
    read = page.evaluate("""() => [...document.querySelectorAll('.answer.a .text')]
        .map((one) => one.textContent).join('')""")
    assert read == visible(HOSTILE[name])


def test_hostile_texts_within_one_another_are_shown_as_they_were_written(
        tmp_path: Path, browser: object) -> None:
    assert read_all(hostile(30, seed=1), tmp_path, browser) == []


def test_right_to_left_text_orders_itself_and_not_the_page(path: Path, open_file: Callable) -> None:
    page = open_file(path, "#a=plain").page
    for _ in range(list(HOSTILE).index("arabic")):
        page.keyboard.press("j")
    direction, isolation, outside = page.evaluate("""() => {
        const text = document.querySelector('.answer.a .text');
        const style = getComputedStyle(text);
        return [style.direction, style.unicodeBidi,
                getComputedStyle(document.querySelector('.answer.a header')).direction];
    }""")
    assert (direction, isolation, outside) == ("rtl", "isolate", "ltr")


def test_a_very_long_word_does_not_widen_the_page(path: Path, open_file: Callable) -> None:
    page = open_file(path, "#a=plain", viewport={"width": 390, "height": 800}).page
    for _ in range(list(HOSTILE).index("one long word")):
        page.keyboard.press("j")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_even_markup_that_slipped_in_could_not_run(path: Path, open_file: Callable) -> None:
    page = open_file(path).page
    page.evaluate("""() => {
        document.body.insertAdjacentHTML('beforeend',
            `<img src=x onerror="document.body.dataset.planted = 'slipped'">`);
        const script = document.createElement('script');
        script.textContent = "document.body.dataset.planted = 'slipped'";
        document.body.append(script);
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("document.body.dataset.planted") is None


def test_the_page_works_inside_a_notebooks_frame(
    path: Path, browser: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr("lib.viewers.page.display", shown.append)
    show_page(path)
    page = browser.new_page()
    page.set_content(f"<!doctype html><body>{shown[0].data}</body>")
    frame = page.frame_locator("iframe")
    frame.locator("body[data-ready=yes]").wait_for()
    frame.locator("#next").click()
    assert frame.locator("#place").input_value() == "2"
    frame.locator("body").press("v")
    assert "Votes are lost with this page" in frame.locator("#voter").inner_text()
    assert page.evaluate("document.body.dataset.planted") is None
    page.close()
