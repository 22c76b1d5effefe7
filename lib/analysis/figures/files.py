"""Figures as files: HTML pages that work offline, and images where a browser can draw them."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

import kaleido
import plotly.graph_objects as go
import plotly.io as pio

from lib.analysis.figures.theme import CONFIG
from lib.runtime.files import atomic_write
from lib.runtime.progress import say

PICTURES = ("svg", "png")
SCALE = {"svg": 1, "png": 2}  # pixels per figure unit
MIME = "application/vnd.plotly.v1+json"
OFFLINE = {"mathjax": False}  # kaleido would fetch MathJax from a server
# Kaleido's browser logs the end of its pipe as a damaged message; what fails is raised as well.
logging.getLogger("choreographer").setLevel(logging.CRITICAL)


def save_figure(figure: go.Figure, folder: Path | str, name: str, width: int = 960) -> list[Path]:
    """Write `name`.html into `folder`, and `name`.svg and .png where a browser is present.

    All pages of a folder share one plotly.min.js beside them. Returns the files written; a missing
    browser is reported once a process. Raises FileError when the folder cannot be written.
    """
    page = Path(folder) / f"{name}.html"
    with atomic_write(page) as temporary:
        figure.write_html(temporary, include_plotlyjs="directory", full_html=True,
                          config=CONFIG)
    if not browser_ready():
        return [page]
    return [page, *(_picture(figure, Path(folder), name, kind, width) for kind in PICTURES)]


def draw_figures(notebook: Any) -> None:
    """Add HTML to the figures of an executed notebook, with plotly.js before the first.

    nbconvert does not know plotly's MIME type and would leave the figures out.
    """
    outputs = [output.data for cell in notebook.cells for output in cell.get("outputs", ())
               if MIME in output.get("data", {})]
    for place, data in enumerate(outputs):
        data["text/html"] = pio.to_html(
            {key: data[MIME][key] for key in ("data", "layout")}, config=CONFIG, full_html=False,
            include_plotlyjs=place == 0, validate=False)


@cache
def browser_ready() -> bool:
    """Whether a browser can draw images; it stays open from then on (0.2 s an image).

    Tries once a process and reports the reason of a failure.
    """
    try:
        kaleido.calc_fig_sync(go.Figure(), opts={"format": "svg"}, kopts=OFFLINE)
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:100]
        say(f"figures are saved as .html only, because no browser can draw images ({reason}); "
            "install Chrome or Chromium for .svg and .png")
        return False
    kaleido.start_sync_server(silence_warnings=True, **OFFLINE)
    return True


def _picture(figure: go.Figure, folder: Path, name: str, kind: str, width: int) -> Path:
    path = folder / f"{name}.{kind}"
    size = {"width": width, "height": figure.layout.height}
    picture = kaleido.calc_fig_sync(figure, opts={"format": kind, "scale": SCALE[kind]} | size)
    with atomic_write(path) as temporary:
        temporary.write_bytes(picture)
    return path
