"""How fast large runs are. Times are printed, not asserted; what is asserted bounds the work."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page import write_page
from tests.browser.browsers import Lab, run_all_cells
from tests.viewers.viewer_rows import many_systems

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_ELEMENTS = 400  # in the page, however many prompts there are
CELLS = [
    "from viewer_rows import many_systems\n"
    "from lib.viewers.show import show_compare\n"
    "show_compare(many_systems(1000, 8), judges=['judge'])",
]


def test_a_thousand_prompts_of_eight_systems_open_and_turn(
    tmp_path: Path, open_file: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_page(many_systems(1000, 8), tmp_path / "compare.html", judges=["judge"])
    started = time.monotonic()
    page = open_file(path).page
    opened = time.monotonic() - started
    steps = page.evaluate("""() => Array.from({length: 50}, () => {
        const started = performance.now();
        document.getElementById('next').click();
        document.body.offsetHeight;
        return performance.now() - started;
    })""")
    with capsys.disabled():
        print(f"\n1,000 prompts x 8 systems: {path.stat().st_size / 1e6:.1f} MB, usable after "
              f"{opened:.2f} s, next row {sum(steps) / len(steps):.0f} ms (worst {max(steps):.0f})")
    assert page.locator("#place").input_value() == "51"
    assert page.locator("#count").inner_text() == "1000 of 1000 prompts"
    assert page.locator("*").count() < MOST_ELEMENTS
    page.keyboard.press("l")
    assert page.locator("#view tbody tr").count() == 100  # as far as the row that was read
    assert path.stat().st_size < 5_000_000


def test_a_step_of_the_panel_with_as_many_prompts(
    lab: Lab, open_lab: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.write("many.ipynb", CELLS)
    page = open_lab("many.ipynb")
    run_all_cells(page)
    compare = page.locator(".panel")
    compare.get_by_role("button", name="j Next").focus()
    seconds = []
    for place in range(1, 21):
        started = time.monotonic()
        page.keyboard.press("j")
        compare.locator(".id").get_by_text(f"p{place}", exact=True).wait_for()
        seconds.append(time.monotonic() - started)
    started = time.monotonic()
    compare.get_by_role("button", name="won but shorter").click()
    compare.get_by_text("0 of 1000 prompts").wait_for()
    with capsys.disabled():
        print(f"\n1,000 prompts x 8 systems in JupyterLab: a step takes "
              f"{sum(seconds) / len(seconds) * 1000:.0f} ms (worst {max(seconds) * 1000:.0f}), a "
              f"filter {(time.monotonic() - started) * 1000:.0f} ms")
    assert compare.locator("*").count() < MOST_ELEMENTS
