"""What a notebook cell calls to show a viewer: the live widget, or what still works without one.

A widget is dead in a notebook that ran headless (papermill, nbconvert): no kernel answers its
buttons. There the same call shows plain HTML. `interactive` decides; None asks the environment, in
which the study's runner sets STUDY_HEADLESS=1.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from IPython import get_ipython
from IPython.display import HTML, Javascript, display

from lib.viewers import render
from lib.viewers.candidates_panel import CandidatesPanel
from lib.viewers.compare_panel import ComparePanel
from lib.viewers.controls import Panel
from lib.viewers.filters import preset, select
from lib.viewers.pools import policies, pools_of
from lib.viewers.rows import Collection, Row, Systems, join, pairs
from lib.viewers.vote_panel import VotePanel
from lib.viewers.votes import read_votes

HEADLESS = "STUDY_HEADLESS"
STATIC_ROWS = 5
LONGEST_CELL = 300  # characters


def is_live(interactive: bool | None = None) -> bool:
    """Whether a person can click: as told, else a kernel that was not started headless."""
    if interactive is not None:
        return interactive
    shell = get_ipython()
    return os.environ.get(HEADLESS) != "1" and shell is not None and hasattr(shell, "kernel")


def show_compare(
    systems: Systems | Collection, heldout: Iterable[Row] = (), judges: Sequence[str] = (),
    a: str | None = None, b: str | None = None, interactive: bool | None = None,
) -> None:
    """Show two systems side by side; headless, the five pairs with the largest score gaps."""
    collection = join(systems, heldout, judges)
    if is_live(interactive):
        show_panel(ComparePanel(collection, a, b))
    else:
        one, other = a or collection.systems[-1], b or collection.systems[0]
        _show_html(static_pairs(collection, one, other))


def show_candidates(
    systems: Systems | Collection, heldout: Iterable[Row] = (), judges: Sequence[str] = (),
    interactive: bool | None = None,
) -> None:
    """Show all candidates for a prompt; headless, those for the first prompt."""
    collection = join(systems, heldout, judges)
    if is_live(interactive):
        show_panel(CandidatesPanel(collection))
    else:
        prompt = collection.prompts[0]
        pool = list(pools_of(prompt, policies(collection.systems)[-1]).values())[0]
        _show_html(render.style() + render.candidates(prompt, pool, collection))


def show_vote(
    systems: Systems | Collection, path: Path | str, heldout: Iterable[Row] = (),
    judges: Sequence[str] = (), a: str | None = None, b: str | None = None, seed: int = 0,
    interactive: bool | None = None,
) -> None:
    """Show the blind vote; headless, how many votes the file holds and where to cast more."""
    if is_live(interactive):
        show_panel(VotePanel(join(systems, heldout, judges), Path(path), a, b, seed))
    else:
        _show_html(render.style() + render.note(
            f"{len(read_votes(path))} votes in {Path(path).name}; cast more in JupyterLab or in "
            "compare.html (key v)."))


def static_pairs(collection: Collection, a: str, b: str) -> str:
    """HTML table of the five pairs with the largest gaps by the first model."""
    score = (*collection.models, "")[0]
    everything = pairs(collection, a, b)
    rows = select(everything, preset("largest gap", score), collection)[:STATIC_ROWS]
    gaps = [pair.gap(score) for pair in rows]
    cells = [
        (_short(pair.prompt.text), _short(pair.a.text), _short(pair.b.text),
         "–" if gap is None else f"{gap:+.2f}")
        for pair, gap in zip(rows, gaps, strict=True)
    ]
    caption = f"{len(rows)} of {len(everything)} prompts: the largest score gaps of {a} and {b}"
    columns = ("prompt", a, b, f"gap by {score}" if score else "gap")
    return render.style() + render.table(caption, columns, cells)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL - 1]}…"


def show_panel(panel: Panel) -> None:
    """Display a live panel and the script that gives it its keys."""
    display(panel)
    display(Javascript(render.read_web(("panel_keys.js",))))


def _show_html(html: str) -> None:
    display(HTML(html))
