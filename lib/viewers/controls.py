"""Small parts that the panels share: buttons, choices, a pager and bars that can be clicked.

Core ipywidgets only, dressed by `web/panels.css`. A button whose tooltip ends in a key, as in
"Next (j)", is pressed by that key too: `web/panel_keys.js` sees to it, because core widgets have no
key events, and keeps JupyterLab from taking keys that are pressed in a panel for its own commands.
"""

from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets as widgets

from lib.viewers import render
from lib.viewers.filters import Bar

Action = Callable[[], None]
BAR_HEIGHT = 48  # pixels of the tallest histogram bar
BAR_WIDTH = 28


class Panel(widgets.VBox):
    """The root of a panel: children below each other, in the colours of the page."""

    def __init__(self, *children: widgets.Widget) -> None:
        super().__init__([widgets.HTML(render.style(("panels.css",))), *children])
        for name in ("viewer", "viewer-panel"):
            self.add_class(name)


def button(label: str, action: Action, tooltip: str = "", style: str = "") -> widgets.Button:
    """A button as wide as its label that calls `action`."""
    made = widgets.Button(description=label, tooltip=tooltip or label, button_style=style,
                          layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def key_button(key: str, label: str, action: Action, style: str = "") -> widgets.Button:
    """A button that a key presses too; the key stands in front of its label."""
    return button(f"{key} {label}", action, f"{label} ({key})", style)


def choice(label: str, options: Sequence[str], action: Action, value: str | None = None
           ) -> widgets.ToggleButtons:
    """One of a few options, each a button; `action` is called after a change."""
    made = widgets.ToggleButtons(
        options=list(options), value=value or options[0], description=label,
        style={"button_width": "auto", "description_width": "auto"},
    )
    made.observe(lambda _: action(), "value")
    return made


def picker(label: str, options: Sequence[str], action: Action, value: str) -> widgets.Dropdown:
    """One of many options, folded up; `action` is called after a change."""
    made = widgets.Dropdown(options=list(options), value=value, description=label,
                            style={"description_width": "auto"}, layout={"width": "260px"})
    made.observe(lambda _: action(), "value")
    return made


def switch(label: str, action: Action, value: bool = False, tooltip: str = ""
           ) -> widgets.ToggleButton:
    """A button that stays pressed."""
    made = widgets.ToggleButton(description=label, value=value, tooltip=tooltip or label,
                                layout=widgets.Layout(width="auto"))
    made.observe(lambda _: action(), "value")
    return made


def number_field(label: str, value: int, action: Action) -> widgets.IntText:
    """A field for a whole number; `action` is called after a change."""
    field = widgets.IntText(value=value, description=label, layout={"width": "150px"},
                            style={"description_width": "auto"})
    field.observe(lambda _: action(), "value")
    return field


def search_field(action: Action) -> widgets.Text:
    """A field to search in; `action` is called while a person types."""
    field = widgets.Text(placeholder="search prompts and answers", description="Search",
                         style={"description_width": "auto"}, layout={"width": "300px"})
    field.observe(lambda _: action(), "value")
    return field


def row(*children: widgets.Widget) -> widgets.Box:
    """Children side by side, wrapped when the notebook is narrow."""
    return widgets.Box(list(children), layout=widgets.Layout(
        display="flex", flex_flow="row wrap", align_items="center", grid_gap="6px 8px"))


class Pager(widgets.Box):
    """Previous, next, `n of N`. `place` counts from 1; `action` is called when it changes."""

    def __init__(self, action: Action) -> None:
        self.number = widgets.BoundedIntText(value=1, min=1, max=1, description="Row",
                                             layout=widgets.Layout(width="110px"),
                                             style={"description_width": "auto"})
        self.number.observe(lambda _: action(), "value")
        self.count = widgets.HTML()
        self.previous = key_button("k", "Previous", lambda: self.step(-1))
        self.next = key_button("j", "Next", lambda: self.step(1))
        super().__init__([self.previous, self.next, self.number, self.count],
                         layout=widgets.Layout(align_items="center", grid_gap="8px"))

    @property
    def place(self) -> int:
        """The row that is shown, from 1."""
        return self.number.value

    def step(self, by: int) -> None:
        """Go forward or back; the ends hold."""
        self.number.value = min(max(1, self.place + by), self.number.max)

    def resize(self, rows: int, of: int) -> None:
        """There are now `rows` of `of` rows to page through; start at the first."""
        self.number.value = 1
        self.number.max = max(1, rows)
        self.count.value = f"<span>{rows} of {of} prompts</span>"


class Histogram(widgets.VBox):
    """A score-gap histogram whose bars are buttons; `action` gets the bar that was clicked.

    Bars left of the middle have the left system's colour, those right of it the right one's; the
    count stands on top. The widgets are made once and changed in place.
    """

    def __init__(self, bars: int, action: Callable[[int], None]) -> None:
        self.bars = [button("", partial(action, place)) for place in range(bars)]
        self.counts = [widgets.Label() for _ in self.bars]
        self.ends = widgets.HTML()
        for place, bar in enumerate(self.bars):
            bar.add_class(("bar-a", "bar-even", "bar-b")[1 + _side(place, bars)])
        columns = [widgets.VBox([count, bar], layout={"width": f"{BAR_WIDTH}px"})
                   for count, bar in zip(self.counts, self.bars, strict=True)]
        shape = widgets.Box(columns, layout={"align_items": "flex-end"})
        super().__init__([shape, self.ends], layout={"width": f"{bars * BAR_WIDTH + 4}px"})
        self.add_class("histogram")

    def show(self, bars: Sequence[Bar], chosen: int | None) -> None:
        """Draw these bars; the chosen one, if any, stands out."""
        tallest = max(1, *(bar.count for bar in bars))
        for place, bar in enumerate(bars):
            made, words = self.bars[place], f"Gap {bar.low:+.2f} to {bar.high:+.2f}"
            made.tooltip = f"{words}: {bar.count} prompts"
            made.disabled = bar.count == 0
            made.layout.height = f"{2 + round(BAR_HEIGHT * bar.count / tallest)}px"
            (made.add_class if place == chosen else made.remove_class)("bar-chosen")
            self.counts[place].value = str(bar.count or "")
        reach = render.number(max(bar.high for bar in bars))
        self.ends.value = render.fill("axis", reach=reach)


def _side(place: int, bars: int) -> int:
    """-1 left of the middle bar, 0 on it, 1 right of it."""
    return (2 * place + 1 > bars) - (2 * place + 1 < bars)
