"""The source of a function that a cell calls, highlighted, right below the cell.

JupyterLab and the HTML export use the theme's colours, dark or light; other viewers show bold and
italic words only, and a reader without HTML gets plain text.
"""

import inspect
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import display
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Number, Operator, String

from lib import ROOT

STYLES = {
    Keyword: "color:var(--jp-mirror-editor-keyword-color,inherit);font-weight:600",
    Operator.Word: "color:var(--jp-mirror-editor-keyword-color,inherit);font-weight:600",
    String: "color:var(--jp-mirror-editor-string-color,inherit)",
    Comment: "font-style:italic;opacity:0.8",
    Number: "color:var(--jp-mirror-editor-number-color,inherit)",
}
FRAME = ("font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
         "line-height:1.4;white-space:pre-wrap;overflow-wrap:anywhere;text-align:left;margin:0;"
         "padding:6px 12px;border-left:3px solid #0072b2")


def show_source(*functions: Callable[..., object]) -> None:
    """Display the source of each function with its file and line."""
    for function in functions:
        source, place = inspect.getsource(function).rstrip(), _place(function)
        html = (f'<div style="font-size:85%">{escape(place)}</div>'
                f'<pre style="{FRAME}">{highlighted(source)}</pre>')
        display({"text/html": html, "text/plain": f"# {place}\n{source}"}, raw=True)


def highlighted(source: str) -> str:
    """Python source as escaped HTML with inline styles."""
    return "".join(_word(kind, text) for kind, text in PythonLexer(
        stripnl=False, ensurenl=False).get_tokens(source))


def _word(kind: Any, text: str) -> str:
    style = next((style for group, style in STYLES.items() if kind in group), "")
    return f'<span style="{style}">{escape(text)}</span>' if style else escape(text)


def _place(function: Callable[..., object]) -> str:
    plain = inspect.unwrap(function)
    path = Path(inspect.getsourcefile(plain) or "").resolve()
    line = inspect.getsourcelines(plain)[1]
    shown = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return f"{shown}, line {line}"
