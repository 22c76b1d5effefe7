"""What a notebook cell calls to show a viewer: the live widget, or the page where none can live.

A widget is dead in a notebook that ran headless (papermill, nbconvert). There the same call embeds
the page, which needs no kernel. `interactive` decides; None asks the environment (`live.is_live`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lib.runtime.files import Row
from lib.viewers.live import is_live
from lib.viewers.page import page_html, show_frame
from lib.viewers.page_data import page_data
from lib.viewers.panel import AnswersPanel
from lib.viewers.rows import Collection, Systems, ViewerError, join


def show_compare(
    systems: Systems | Collection, heldout: Iterable[Row] = (), judges: Sequence[str] = (),
    a: str | None = None, b: str | None = None, votes: Path | str | None = None,
    interactive: bool | None = None,
) -> None:
    """Show a (None: the last system) and b (None: the first) side by side.

    With a votes file the panel can vote blind too. Raises ViewerError for fewer than two systems.
    """
    _show(_several(join(systems, heldout, judges)), "read", a, b, votes, 0, interactive)


def show_candidates(
    systems: Systems | Collection, heldout: Iterable[Row] = (), judges: Sequence[str] = (),
    a: str | None = None, interactive: bool | None = None,
) -> None:
    """Show every candidate for a prompt, first of a's pool (None: the last system's)."""
    _show(join(systems, heldout, judges), "candidates", a, None, None, 0, interactive)


def show_vote(
    systems: Systems | Collection, path: Path | str, heldout: Iterable[Row] = (),
    judges: Sequence[str] = (), a: str | None = None, b: str | None = None, seed: int = 0,
    interactive: bool | None = None,
) -> None:
    """Show the blind vote between a and b; each vote is appended to `path` at once.

    Raises ViewerError for fewer than two systems.
    """
    _show(_several(join(systems, heldout, judges)), "vote", a, b, path, seed, interactive)


def _show(collection: Collection, mode: str, a: str | None, b: str | None,
          votes: Path | str | None, seed: int, interactive: bool | None) -> None:
    live = is_live(interactive)
    data = page_data(collection, a, b, mode, seed, votes=not live or votes is not None)
    if live:
        AnswersPanel(collection, data, votes).show()
    else:
        show_frame(page_html(data, zip_from=0))


def _several(collection: Collection) -> Collection:
    if len(collection.systems) < 2:
        raise ViewerError(f"one system ({collection.systems[0]}) cannot be compared; pass the "
                          "responses of at least two")
    return collection
