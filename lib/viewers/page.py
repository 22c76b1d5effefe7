"""`compare.html`: every viewer in one file that opens anywhere, without a server or a network.

Comes in: a `Collection`. Goes out: a page whose only script and style are its own. Its
Content-Security-Policy allows these two by their hashes and forbids everything else, so that even a
mistake in the escaping could neither run a planted script nor send anything anywhere.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from IPython.display import HTML, display
from markupsafe import Markup

from lib.runtime.files import Row, write_text
from lib.viewers.assets import SCRIPTS, STYLES, TEMPLATES, read_web
from lib.viewers.page_data import page_data, zipped
from lib.viewers.rows import Collection, Systems, join

TITLE = "Compare answers"
ZIP_FROM = 2_000_000  # bytes of data; below it the answers stay readable in the file itself
SANDBOX = "allow-scripts allow-downloads allow-modals"  # no same origin: no cookies, no kernel


def write_page(
    systems: Systems | Collection, path: Path | str, heldout: Iterable[Row] = (),
    judges: Sequence[str] = (), title: str = TITLE, a: str | None = None, b: str | None = None,
) -> Path:
    """Write the page and give its path; it opens on a (else the last system) and b (the first).

    The other parameters are those of `rows.join`.
    """
    write_text(path, page_html(page_data(join(systems, heldout, judges), a, b), title))
    return Path(path)


def page_html(data: str, title: str = TITLE, zip_from: int = ZIP_FROM) -> str:
    """The whole page around the JSON of `page_data`; from `zip_from` bytes on the data are zipped.

    Browsers unzip them themselves.
    """
    style, script = read_web(STYLES), read_web((*SCRIPTS, "shell/standalone.js"))
    script = f'"use strict";\n{script}'
    large = len(data.encode("utf-8")) > zip_from
    return TEMPLATES.get_template("page.html.jinja").render(
        title=title,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(zipped(data) if large else data),
        data_type="application/gzip" if large else "application/json",
    )


def show_page(path: Path | str, height: int = 900) -> None:
    """Display a written page inside the notebook; it stays in the notebook's HTML export."""
    show_frame(Path(path).read_text(encoding="utf-8"), height)


def show_frame(page: str, height: int = 900) -> None:
    """Display the text of a page in a sandboxed frame: its scripts reach nothing outside of it."""
    frame = (f'<iframe title="{TITLE}" sandbox="{SANDBOX}" srcdoc="{escape(page)}" '
             f'style="width:100%;height:{height}px;border:1px solid #8886;border-radius:8px">')
    display(HTML(f"<div>{frame}</iframe></div>"))  # the div keeps IPython from suggesting IFrame


def _policy(style: str, script: str) -> str:
    return (f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
            "base-uri 'none'; form-action 'none'")


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
