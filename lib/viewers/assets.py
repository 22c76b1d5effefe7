"""The files of `web/`: scripts and styles of the one viewer, which page and panel share.

`data` computes and touches no page, `views` are what a reader sees, `shell` is what holds them.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

WEB = Path(__file__).parent / "web"
TEMPLATES = Environment(
    loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)
STYLES = ("styles/theme.css", "styles/answers.css", "styles/charts.css", "styles/page.css",
          "styles/views.css")
SCRIPTS = ("shell/dom.js", "data/diff.js", "data/text.js", "data/rows.js", "data/blind.js",
           "data/filters.js", "data/state.js", "views/cards.js", "views/read.js",
           "views/candidates.js", "views/list.js", "views/votes.js", "views/vote.js",
           "views/legend.js", "shell/shell.js", "shell/controls.js", "shell/keys.js",
           "shell/page.js")


def read_web(names: Sequence[str]) -> str:
    """Files of `web/` one after the other."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def number(value: float | None, digits: int = 2) -> str:
    """A score as people write it: a real minus sign, no negative zero, a dash for a missing one."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
