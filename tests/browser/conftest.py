"""A headless Chromium, pages that record what they try to load, and a JupyterLab on loopback."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib import ROOT

sys.path.insert(0, str(Path(__file__).parents[1] / "viewers"))  # viewer_rows, shared with them

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A Chromium driven by playwright; tests are skipped with a reason where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the path; apt-get install chromium runs the browser tests")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


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


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its root folder and how to reach a notebook in it."""

    root: Path
    base: str
    token: str

    def url(self, notebook: str) -> str:
        """The address at which JupyterLab shows this notebook and nothing else beside it."""
        return f"{self.base}/lab/tree/{notebook}?token={self.token}&reset"

    def write(self, name: str, cells: list[str]) -> None:
        """Put a notebook with these code cells into the root."""
        nb = {"nbformat": 4, "nbformat_minor": 5,
              "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3",
                                          "language": "python"}},
              "cells": [{"cell_type": "code", "id": f"cell-{place}", "metadata": {}, "outputs": [],
                         "source": source, "execution_count": None}
                        for place, source in enumerate(cells)]}
        (self.root / name).write_text(json.dumps(nb), encoding="utf-8")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Lab]:
    """JupyterLab on loopback, with a token, no browser of its own, in a temporary root."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("jupyter")
    port, token = free_port(), secrets.token_hex(16)
    settings = {name: str(home / name.lower()) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    silence(Path(settings["JUPYTERLAB_SETTINGS_DIR"]))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "viewers")])
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}", "--no-browser",
         "--allow-root", f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}",
         "--ServerApp.port_retries=0"],
        env=os.environ | settings | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL, stderr=(home / "log").open("wb"))
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{base}/api/status?token={token}", server, home / "log")
        yield Lab(root, base, token)
    finally:
        server.terminate()
        server.wait(timeout=30)


def silence(settings: Path) -> None:
    """JupyterLab's own news and update checks would cover the page and leave the machine."""
    path = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    """Wait until the server answers; fails with its log when it ends or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer: {log.read_text()[-2000:]}")


@pytest.fixture
def open_lab(lab: Lab, browser: object) -> Iterator[Callable[[str], object]]:
    """Open a notebook of the lab's root in JupyterLab, ready to run."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})

    def open_one(notebook: str) -> object:
        page = context.new_page()
        page.goto(lab.url(notebook))
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=60_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        return page

    yield open_one
    context.close()


STATES = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(
    (prompt) => prompt.textContent.match(/\\[(.*)\\]/)?.[1].trim() ?? '')"""


def run_all_cells(page: object, seconds: float = 120) -> None:
    """Run every cell of the open notebook from the menu and wait until all have a number."""
    deadline = time.monotonic() + seconds
    while not any(page.evaluate(STATES)):  # dropped without a word while the kernel is connecting
        assert time.monotonic() < deadline, "no cell started to run"
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_timeout(1500)
    while not all(state.isdigit() for state in page.evaluate(STATES)):
        assert time.monotonic() < deadline, f"cells still run: {page.evaluate(STATES)}"
        page.wait_for_timeout(100)
