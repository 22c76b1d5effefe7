"""A headless Chromium and a JupyterLab on loopback, for the tests and for `screenshots.py`."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import ROOT

PATIENCE = 120_000  # milliseconds for what appears at once on a machine without other work
WINDOW = {"width": 1400, "height": 1000}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]


def chromium_path() -> str | None:
    """The system's Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[object]:
    """A Chromium driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=QUIET)
        yield browser
        browser.close()


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


@contextmanager
def jupyter_lab(root: Path, home: Path) -> Iterator[Lab]:
    """JupyterLab on loopback, with a token, serving `root`; its own files go to `home`."""
    port, token = free_port(), secrets.token_hex(16)
    settings = {name: str(home / name.lower()) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    silence(Path(settings["JUPYTERLAB_SETTINGS_DIR"]))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "viewers")])
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}", "--no-browser",
         "--allow-root", f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}",
         "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"],
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
    """Wait until the server answers; raises TimeoutError with its log where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise TimeoutError(f"JupyterLab did not answer: {log.read_text()[-2000:]}")


CONNECTED = """() => {
    const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
    const kernel = session?.session?.kernel;
    return session?.isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


def open_notebook(context: object, lab: Lab, notebook: str) -> object:
    """A page of this browser context with a notebook of the lab's root, ready to run."""
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(lab.url(notebook))
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    return page


def set_theme(page: object, theme: str) -> None:
    """Switch JupyterLab to `JupyterLab Light` or `JupyterLab Dark` and wait until it is drawn."""
    page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
    light = "false" if theme.endswith("Dark") else "true"
    page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")


STATES = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(
    (prompt) => prompt.textContent.match(/\\[(.*)\\]/)?.[1].trim() ?? '')"""


def run_all_cells(page: object, seconds: float = 300) -> None:
    """Run every cell of the open notebook from the menu and wait until all have a number.

    Numbers of an earlier run are cleared before. Cells are dropped without a word while the kernel
    is connecting, and run twice where the menu is used twice: it is used when the kernel is there.
    """
    deadline = time.monotonic() + seconds
    page.evaluate("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.wait_for_function(CONNECTED)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    while not all(state.isdigit() for state in page.evaluate(STATES)):
        assert time.monotonic() < deadline, f"cells still run: {page.evaluate(STATES)}"
        page.wait_for_timeout(100)
