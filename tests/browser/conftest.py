"""Fixtures: a headless Chromium, pages that record what they try to load, and a JupyterLab."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

from tests.browser.browsers import Lab, chromium, chromium_path, jupyter_lab, open_notebook

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A Chromium driven by playwright; tests are skipped with a reason where there is none."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium_path() is None:
        pytest.skip("no chromium on the path; apt-get install chromium runs the browser tests")
    with chromium() as started:
        yield started


@dataclass
class Watched:
    """A browser page, every request it made beyond its own file, and every error."""

    page: object
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture
def open_file(browser: object) -> Iterator[Callable[..., Watched]]:
    """Open a file from the file system in a context of its own; options as of `new_context`."""
    contexts = []

    def open_one(path: Path, hash: str = "", **options: object) -> Watched:
        context = browser.new_context(**options)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.on("request", lambda request: None if request.url.startswith(path.as_uri())
                        else watched.requests.append(request.url))
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        watched.page.on("console", lambda message: watched.errors.append(message.text)
                        if message.type == "error" else None)
        watched.page.goto(path.as_uri() + hash)
        watched.page.wait_for_selector("body[data-ready=yes]", timeout=30_000)
        return watched

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Lab]:
    """JupyterLab in a temporary root."""
    with jupyter_lab(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def open_lab(lab: Lab, browser: object) -> Iterator[Callable[[str], object]]:
    """Open a notebook of the lab's root in JupyterLab, ready to run."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield lambda notebook: open_notebook(context, lab, notebook)
    context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which checks a page for WCAG 2.2 A and AA."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def complaints(axe: str) -> Callable[..., list[str]]:
    """What axe-core finds wrong in a page, or in the parts of it that a selector names."""
    def check(page: object, within: str = "html") -> list[str]:
        page.evaluate(axe)
        result = page.evaluate(
            "([within, tags]) => axe.run(within, {runOnly: {type: 'tag', values: tags}})",
            [within, RULES])
        return [f"{found['id']}: {node['html'][:160]} {node['failureSummary']}"
                for found in result["violations"] for node in found["nodes"]]

    return check
