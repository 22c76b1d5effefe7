"""Fixtures: a headless Chromium, pages that record what they try to load, and a JupyterLab."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

from lib.viewers.page import write_page
from tests.browser.browsers import (
    WINDOW,
    Lab,
    chromium,
    chromium_path,
    jupyter_lab,
    open_notebook,
)
from tests.viewers.viewer_rows import small_systems

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


HOST = """async ([script, state]) => {
    const url = URL.createObjectURL(new Blob([script], {type: 'text/javascript'}));
    const widget = (await import(url)).default;
    const acts = {}, el = document.getElementById('output');
    const call = async (message) => {
        for (const [name, content, buffers] of await toPython(message)) {
            if (name === 'msg:custom') {
                const bytes = buffers.map((text) => new DataView(
                    Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer));
                for (const act of acts[name] || []) act(content, bytes);
            } else {
                Object.assign(state, content);
                for (const key of Object.keys(content))
                    for (const act of acts[`change:${key}`] || []) act();
            }
        }
    };
    const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; },
        save_changes: () => call(['state', {view: state.view}]),
        send: (content) => window.dead || call(['custom', content]),
        on: (name, act) => (acts[name] ||= []).push(act),
        off() {},
    };
    window.loseKernel = () => {
        window.dead = true;
        el.classList.add('jupyter-widgets-disconnected');
    };
    setInterval(() => window.dead || call(['poll', null]), 50);
    await widget.render({ model, el, signal: new AbortController().signal });
}"""


@pytest.fixture
def open_panel(browser: object, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Show a real widget in a page that plays the notebook: it loads the module as anywidget does.

    Messages and traits travel both ways; `loseKernel()` in the page is a kernel that is gone.
    """
    contexts = []

    def open_one(panel: object, before: str = "", **options: object) -> Watched:
        context = browser.new_context(**options)
        contexts.append(context)
        page, sent = context.new_page(), []
        watched = Watched(page)
        page.on("request", lambda request: None if request.url.startswith(("file:", "blob:"))
                else watched.requests.append(request.url))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        panel.send = lambda content, buffers=None: sent.append(
            ["msg:custom", content, [base64.b64encode(one).decode() for one in buffers or []]])
        panel.observe(lambda change: sent.append(["state", {change["name"]: change["new"]}, []]),
                      ["votes", "setup"])

        def to_python(message: list) -> list:
            kind, content = message
            if kind == "custom":
                panel._handle_custom_msg(content, [])
            elif kind == "state":
                panel.set_state(content)
            taken, sent[:] = list(sent), []
            return taken

        page.expose_function("toPython", to_python)
        host = tmp_path / "notebook.html"
        host.write_text("<!doctype html><html lang=en><title>Notebook</title><body>"
                        f"<main>{before}<div id=output></div></main>", encoding="utf-8")
        page.goto(host.as_uri())
        state = {"setup": panel.setup, "view": panel.view, "votes": panel.votes}
        page.evaluate(HOST, [panel._esm, state])
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
    context = browser.new_context(viewport=WINDOW)
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """compare.html of five prompts and a few systems."""
    return write_page(small_systems(), tmp_path / "compare.html", judges=["judge"], title="Small")


@pytest.fixture
def page(path: Path, open_file: Callable) -> object:
    """That page in a browser, with SFT beside DPO."""
    return open_file(path, "#a=sft&b=dpo").page
