"""The files of `web/`: scripts and styles of the one viewer, which page and panel share."""

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WEB = Path(__file__).parent / "web"
TEMPLATES = Environment(
    loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)
STYLES = ("theme.css", "answers.css", "charts.css", "page.css", "views.css")
SCRIPTS = ("dom.js", "diff.js", "text.js", "rows.js", "blind.js", "filters.js", "state.js",
           "cards.js", "read.js", "candidates.js", "list.js", "votes.js", "vote.js", "legend.js",
           "shell.js", "controls.js", "keys.js", "page.js")


def read_web(names: Sequence[str]) -> str:
    """Files of `web/` one after the other."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def number(value: float | None, digits: int = 2) -> str:
    """A score as people write it: a real minus sign, no negative zero, a dash for a missing one."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
