"""How fast a large page is. Times are printed, not asserted: machines differ."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from viewer_rows import many_systems

from lib.viewers.page import write_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_thousand_prompts_of_eight_systems_open_and_turn(
    tmp_path: Path, open_file: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_page(many_systems(1000, 8), tmp_path / "compare.html", judges=["judge"])
    started = time.monotonic()
    page = open_file(path).page
    opened = time.monotonic() - started
    steps = page.evaluate("""() => Array.from({length: 50}, () => {
        const started = performance.now();
        byId('next').click();
        document.body.offsetHeight;
        return performance.now() - started;
    })""")
    with capsys.disabled():
        print(f"\n1,000 prompts x 8 systems: {path.stat().st_size / 1e6:.1f} MB, usable after "
              f"{opened:.2f} s, next row {sum(steps) / len(steps):.0f} ms (worst {max(steps):.0f})")
    assert page.locator("#place").input_value() == "51"
    assert page.locator("#count").inner_text() == "1000 of 1000"
