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

from lib.runtime.files import sha256_of_value, write_text
from lib.viewers.page_data import page_data, zipped
from lib.viewers.render import STYLES, TEMPLATES, read_web
from lib.viewers.rows import Collection, Row, Systems, join, pairs

PAGE_STYLES = (*STYLES, "page.css", "views.css")
SCRIPTS = ("dom.js", "diff.js", "text.js", "rows.js", "blind.js", "filters.js", "state.js",
           "read.js", "candidates.js", "list.js", "votes.js", "vote.js", "controls.js", "keys.js",
           "page.js")
ZIP_FROM = 2_000_000  # bytes of data; below it the answers stay readable in the file itself
SANDBOX = "allow-scripts allow-downloads allow-modals"  # no same origin: no cookies, no kernel


def write_page(
    systems: Systems | Collection,
    path: Path | str,
    heldout: Iterable[Row] = (),
    judges: Sequence[str] = (),
    title: str = "Compare answers",
    a: str | None = None,
    b: str | None = None,
) -> Path:
    """Write the page and give its path; it opens on a (else the last system) and b (the first).

    The other parameters are those of `rows.join`.
    """
    write_text(path, page_html(join(systems, heldout, judges), title, a, b))
    return Path(path)


def page_html(collection: Collection, title: str = "Compare answers", a: str | None = None,
              b: str | None = None) -> str:
    """The whole page as one string; data beyond 2 MB are zipped, browsers unzip them themselves.

    Raises ViewerError when a or b has no responses.
    """
    style, script = read_web(PAGE_STYLES), f'"use strict";\n{read_web(SCRIPTS)}'
    opened = (a or collection.systems[-1], b or collection.systems[0])
    pairs(collection, *opened)
    data = page_data(collection, opened)
    large = len(data.encode("utf-8")) > ZIP_FROM
    return TEMPLATES.get_template("page.html.jinja").render(
        title=title,
        page_id=sha256_of_value([title, data])[:16],
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(zipped(data) if large else data),
        data_type="application/gzip" if large else "application/json",
    )


def show_page(path: Path | str, height: int = 900) -> None:
    """Display a written page inside the notebook; it stays in the notebook's HTML export."""
    page = escape(Path(path).read_text(encoding="utf-8"))
    frame = (f'<iframe title="Compare answers" sandbox="{SANDBOX}" srcdoc="{page}" '
             f'style="width:100%;height:{height}px;border:1px solid #8886;border-radius:8px">')
    display(HTML(f"<div>{frame}</iframe></div>"))  # the div keeps IPython from suggesting IFrame


def _policy(style: str, script: str) -> str:
    return (f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; "
            "base-uri 'none'; form-action 'none'")


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
