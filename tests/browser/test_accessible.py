"""Contrast, labels and structure by axe-core (WCAG 2.2 A and AA): light, dark, wide and narrow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.viewers.page import write_page
from tests.viewers.viewer_rows import small_systems

pytestmark = pytest.mark.browser

INK = "rgb(28, 29, 33)"  # of the light page
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 800}


@pytest.mark.parametrize("mode", ["read", "candidates", "vote", "list", "keys"])
@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", WIDE),
                                                  ("light", NARROW)])
def test_axe_finds_nothing_to_complain_about(
    mode: str, scheme: str, viewport: dict[str, int], complaints: Callable,
    tmp_path: Path, open_file: Callable,
) -> None:
    path = write_page(small_systems(), tmp_path / "compare.html", judges=["judge"])
    page = open_file(path, f"#a=sft&b=dpo&mode={mode}", color_scheme=scheme,
                     viewport=viewport).page
    for details in page.locator("details:not([open]) > summary").all():
        if details.is_visible():
            details.click()
    if mode == "keys":
        page.keyboard.press("?")
    assert complaints(page) == []


@pytest.mark.parametrize("mode", ["read", "candidates", "vote", "list"])
def test_nothing_is_wider_than_a_telephone(mode: str, tmp_path: Path, open_file: Callable) -> None:
    path = write_page(small_systems(), tmp_path / "compare.html", judges=["judge"])
    page = open_file(path, f"#mode={mode}", viewport=NARROW).page
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_printed_page_has_the_answers_and_no_controls(
    tmp_path: Path, open_file: Callable
) -> None:
    path = write_page(small_systems(), tmp_path / "compare.html", judges=["judge"])
    page = open_file(path, "#a=sft&b=dpo", color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.locator("#view .pair").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.answer')).color") == INK
    for hidden in (".side", ".pager", "nav"):
        assert not page.locator(hidden).is_visible()
