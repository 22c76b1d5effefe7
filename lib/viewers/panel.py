"""The page's script as a notebook widget (anywidget): JupyterLab, VS Code and Colab show it.

The browser holds the answers, filters and draws them; Python hands over the data when a view asks
for it, so that a saved notebook holds no answers, and writes each vote to disk before it is counted
as cast. `web/shell/panel.js` is the other end.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import HTML, display

from lib.runtime.files import shown
from lib.viewers.assets import SCRIPTS, STYLES, read_web
from lib.viewers.rows import Collection
from lib.viewers.votes import append_vote, parse_vote, read_votes

# JupyterLab's line for a widget whose kernel is gone says nothing to a reader; the note does.
NOTE = """<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child .viewer-note)
> .jupyter-widgets:not(:has(*)) {{ display: none }}</style>
<p class="viewer-note viewer-note-{id}">This panel needs the kernel that made it: run its cell
(again) in a notebook that is connected to one.</p>"""


def panel_script() -> str:
    """One ES module: the page's scripts and styles, and what ties them to the widget."""
    style = json.dumps(_lean(read_web(STYLES)))
    script = _lean(read_web((*SCRIPTS, "views/playground.js", "shell/panel.js")))
    return f"{script}\nconst STYLE = {style};\n"


def _lean(text: str) -> str:
    """Without indentation and comments: a notebook that saves widgets holds it once a panel."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


class Panel(anywidget.AnyWidget):
    """A panel of the viewer; subclasses answer the messages of the browser in `heard`."""

    _esm = panel_script()
    setup = traitlets.Dict().tag(sync=True)  # what kind of panel this is, and its settings
    view = traitlets.Unicode().tag(sync=True)  # what is looked at, as in the page's address
    votes: traitlets.List[Any] = traitlets.List().tag(sync=True)  # every vote on disk
    heard: Callable[[Mapping[str, Any]], None]  # each kind of panel answers the browser's messages

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.setup = self.setup | {"id": self.model_id}
        self.on_msg(lambda _, content, buffers: self._hear(content))

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") == "ping":
            self.send({"kind": "pong"})
        else:
            self.heard(message)

    def show(self) -> None:
        """Display the panel, and a sentence that stands in for it where no kernel is."""
        display(self)
        display(HTML(NOTE.format(id=self.model_id)))


class AnswersPanel(Panel):
    """Answers to compare and, with a votes file, to vote on; `data` is the JSON of `page_data`."""

    def __init__(self, collection: Collection, data: str, votes: Path | str | None = None) -> None:
        self.collection, self.path = collection, Path(votes) if votes else None
        self.packed = gzip.compress(data.encode("utf-8"), mtime=0)
        super().__init__(setup={"kind": "answers", "votes": shown(self.path) if self.path else ""})
        self.read()

    def heard(self, message: Mapping[str, Any]) -> None:
        """Hand over the data, or write a vote."""
        if message.get("kind") == "ready":
            self.send({"kind": "data"}, [self.packed])
        elif message.get("kind") == "vote":
            self.vote(message.get("vote"))

    def vote(self, fields: Any) -> None:
        """Write one vote; what is none, or cannot be written, is said in the panel."""
        try:
            vote = parse_vote(fields)
            if not {vote.left, vote.right} <= set(self.collection.systems):
                raise ValueError(f"{vote.left} and {vote.right} are not both compared here")
            if self.path is None:
                raise ValueError("this panel keeps no votes; show it with a file of votes")
            append_vote(self.path, vote)
        except (ValueError, TypeError) as error:
            self.send({"kind": "refused", "reason": str(error)})
        self.read()

    def read(self) -> None:
        """Take the votes from the file again; damaged lines are told in the panel."""
        damage: list[str] = []
        if self.path:
            self.votes = [vars(vote) for vote in read_votes(self.path, damage.append)]
        self.setup = self.setup | {"damage": damage}
