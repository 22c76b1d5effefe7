"""Small parts that the panels share: buttons, choices, a pager and bars that can be clicked.

Core ipywidgets only. No Dropdown: JupyterLab takes keys pressed on a closed one for its own
commands (ipywidgets 3912), and a row of buttons shows what there is to choose.
"""

from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets as widgets

Action = Callable[[], None]
BAR_HEIGHT = 44  # pixels of the tallest histogram bar
SIDES = {-1: "#17568f", 0: "#7d828c", 1: "#97430a"}  # left, even, right; as in theme.css
CHOSEN = "#6a3fd1"


def button(label: str, action: Action, tooltip: str = "", style: str = "") -> widgets.Button:
    """A button as wide as its label that calls `action`."""
    made = widgets.Button(description=label, tooltip=tooltip or label, button_style=style,
                          layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def choice(label: str, options: Sequence[str], action: Action, value: str | None = None
           ) -> widgets.ToggleButtons:
    """One of several options, each a button; `action` is called after a change."""
    made = widgets.ToggleButtons(
        options=list(options), value=value or options[0], description=label,
        style={"button_width": "auto", "description_width": "64px"},
    )
    made.observe(lambda _: action(), "value")
    return made


def switch(label: str, action: Action, value: bool = False) -> widgets.ToggleButton:
    """A button that stays pressed."""
    made = widgets.ToggleButton(description=label, value=value, tooltip=label,
                                layout=widgets.Layout(width="auto"))
    made.observe(lambda _: action(), "value")
    return made


def row(*children: widgets.Widget) -> widgets.Box:
    """Children side by side, wrapped when the notebook is narrow."""
    return widgets.Box(list(children), layout=widgets.Layout(
        display="flex", flex_flow="row wrap", align_items="center", grid_gap="4px 8px"))


def key_field(keys: dict[str, Action]) -> widgets.Text:
    """A field in which typing a key calls its action: core widgets have no key events."""
    field = widgets.Text(placeholder=" ".join(keys), description="Keys", tooltip="type a key here",
                         layout={"width": "150px"}, style={"description_width": "40px"})

    def typed(change: dict[str, str]) -> None:
        """Act on each key that was typed, and empty the field again."""
        if change["new"]:
            field.value = ""
            for key in change["new"].lower():
                keys.get(key, lambda: None)()

    field.observe(typed, "value")
    return field


class Pager(widgets.Box):
    """Previous, `n of N`, next. `place` counts from 1; `action` is called when it changes."""

    def __init__(self, action: Action) -> None:
        self.number = widgets.BoundedIntText(value=1, min=1, max=1, description="Row",
                                             layout=widgets.Layout(width="140px"),
                                             style={"description_width": "40px"})
        self.number.observe(lambda _: action(), "value")
        self.count = widgets.HTML()
        self.previous = button("◀ previous", lambda: self.step(-1))
        self.next = button("next ▶", lambda: self.step(1))
        super().__init__([self.previous, self.number, self.count, self.next],
                         layout=widgets.Layout(align_items="center", grid_gap="8px"))

    @property
    def place(self) -> int:
        """The row that is shown, from 1."""
        return self.number.value

    def step(self, by: int) -> None:
        """Go forward or back; the ends hold."""
        self.number.value = min(max(1, self.place + by), self.number.max)

    def resize(self, rows: int, of: int, unit: str = "prompts") -> None:
        """There are now `rows` of `of` rows to page through; start at the first."""
        self.number.value = 1
        self.number.max = max(1, rows)
        self.count.value = f"<span>{rows} of {of} {unit}</span>"


def bars(counts: Sequence[int], labels: Sequence[str], chosen: int | None,
         action: Callable[[int], None]) -> widgets.Box:
    """A histogram whose bars are buttons; `action` gets the place of the bar that was clicked.

    Bars left of the middle have the left system's colour, those right of it the right one's.
    """
    tallest = max((*counts, 1))
    made = []
    for place, (count, label) in enumerate(zip(counts, labels, strict=True)):
        bar = button("", partial(action, place), f"{label}: {count} prompts")
        side = (2 * place + 1 > len(counts)) - (2 * place + 1 < len(counts))
        bar.style.button_color = CHOSEN if place == chosen else SIDES[side]
        bar.layout = widgets.Layout(width="26px", margin="0 1px 0 0", padding="0", min_width="0",
                                    height=f"{4 + round(BAR_HEIGHT * count / tallest)}px")
        bar.disabled = count == 0
        made.append(bar)
    return widgets.Box(made, layout=widgets.Layout(align_items="flex-end",
                                                   height=f"{BAR_HEIGHT + 8}px"))
