"""Two systems side by side in a notebook: choose, search, filter, sort, read.

The panel holds no logic of its own: it turns its controls into a `Filter`, asks `filters.select`
for the rows and shows `render.comparison` of the current one.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial

import ipywidgets as widgets

from lib.viewers import render
from lib.viewers.controls import Pager, bars, button, choice, key_field, row, switch
from lib.viewers.filters import (
    FLAGS,
    ORDERS,
    PRESETS,
    Filter,
    histogram,
    select,
    summary,
)
from lib.viewers.rows import Collection, Pair, Row, Systems, ViewerError, join, pairs

EVERYWHERE = (-math.inf, math.inf)


def compare_panel(
    systems: Systems | Collection,
    heldout: Iterable[Row] = (),
    judges: Sequence[str] = (),
    a: str | None = None,
    b: str | None = None,
) -> "ComparePanel":
    """A widget that compares any two systems, at first a (else the last) with b (else the first).

    The other parameters are those of `rows.join`.
    """
    return ComparePanel(join(systems, heldout, judges), a, b)


class ComparePanel(widgets.VBox):
    """The compare widget; `rows` are the pairs that pass, `body.value` is what is shown."""

    def __init__(
        self, collection: Collection, a: str | None = None, b: str | None = None
    ) -> None:
        if len(collection.systems) < 2:
            raise ViewerError(f"one system ({collection.systems[0]}) cannot be compared; "
                              "pass the responses of at least two")
        self.collection = collection
        self.gap, self.quiet = EVERYWHERE, True
        self._make_choices(a, b)
        self._make_filters()
        self.pager = Pager(self.show)
        self.typed = key_field({"j": self.pager.next.click, "k": self.pager.previous.click,
                               "d": self._switch_diff})
        self.numbers, self.bars, self.body = widgets.HTML(), row(), widgets.HTML()
        super().__init__([
            widgets.HTML(render.style()), self.left, self.right, self.presets,
            row(self.search, self.diff, self.pager, self.typed), row(self.numbers, self.bars),
            self.more, self.body,
        ])
        self.quiet = False
        self.update()

    def _make_choices(self, a: str | None, b: str | None) -> None:
        systems = self.collection.systems
        self.left = choice("Left", systems, self.restart, a or systems[-1])
        self.right = choice("Right", systems, self.restart, b or systems[0])
        self.presets = row(*(button(name, partial(self.apply, name)) for name in PRESETS))

    def _make_filters(self) -> None:
        models = self.collection.models or ("no scores",)
        sources = sorted({prompt.source for prompt in self.collection.prompts})
        longest = max(answer.tokens for prompt in self.collection.prompts
                      for pool in prompt.pools for answer in pool.answers)
        self.search = widgets.Text(placeholder="search prompts and answers", description="Search",
                                   style={"description_width": "64px"})
        self.diff = switch("mark words", self.show, True)
        self.score = choice("Scores of", models, self.restart)
        self.winner = choice("Winner", ("any", "left", "tie", "right"), self.update)
        self.order = choice("Order", ORDERS, self.update)
        self.seed = widgets.IntText(value=0, description="Seed", layout={"width": "150px"})
        self.flags = {name: switch(name, self.update) for name in FLAGS}
        self.sources = widgets.SelectMultiple(options=sources, description="Sources",
                                              rows=min(8, len(sources)))
        self.tokens = widgets.IntRangeSlider(value=(0, longest), min=0, max=longest,
                                             description="Tokens", layout={"width": "420px"})
        for control in (self.search, self.seed, self.sources, self.tokens):
            control.observe(lambda _: self.update(), "value")
        inside = widgets.VBox([self.score, self.winner, row(self.order, self.seed),
                               row(*self.flags.values()), row(self.sources, self.tokens)])
        self.more = widgets.Accordion([inside], titles=["Filters, order, scores"])

    def apply(self, name: str) -> None:
        """Set the controls to a preset."""
        flags, order = PRESETS[name]
        self.quiet, self.gap = True, EVERYWHERE
        for flag, control in self.flags.items():
            control.value = flag in flags
        self.order.value, self.winner.value, self.search.value = order, "any", ""
        self.sources.value, self.tokens.value = (), (self.tokens.min, self.tokens.max)
        self.quiet = False
        self.update()

    def _switch_diff(self) -> None:
        self.diff.value = not self.diff.value

    def restart(self) -> None:
        """Other systems or scores: a bar that was clicked means nothing now."""
        self.gap = EVERYWHERE
        self.update()

    def wanted(self) -> Filter:
        """What the controls ask for."""
        winner = {"left": "a", "right": "b"}.get(self.winner.value, self.winner.value)
        return Filter(
            self.score.value, self.search.value.strip(), frozenset(self.sources.value), winner,
            self.gap, self.tokens.value,
            frozenset(flag for flag, control in self.flags.items() if control.value),
            self.order.value, self.seed.value,
        )

    def update(self) -> None:
        """Filter again and show the first row."""
        if self.quiet:
            return
        everything = pairs(self.collection, self.left.value, self.right.value)
        self.rows = select(everything, self.wanted(), self.collection)
        self._show_numbers()
        self._show_bars(everything)
        self.quiet = True
        self.pager.resize(len(self.rows), len(everything))
        self.quiet = False
        self.show()

    def _show_numbers(self) -> None:
        self.numbers.value = render.slice_in_words(
            summary(self.rows, self.score.value), self.left.value, self.right.value,
            self.score.value)

    def _show_bars(self, everything: Sequence[Pair]) -> None:
        found = histogram(everything, self.score.value)[::-1]  # left wins on the left
        chosen = next((place for place, bar in enumerate(found)
                       if (bar.low, bar.high) == self.gap), None)

        def click(place: int) -> None:
            """Filter to the bar that was clicked, or to all when it was chosen already."""
            bar = found[place]
            self.gap = EVERYWHERE if place == chosen else (bar.low, bar.high)
            self.update()

        labels = [f"gap {bar.low:+.2f} to {bar.high:+.2f}" for bar in found]
        self.bars.children = (bars([bar.count for bar in found], labels, chosen, click),)

    def show(self) -> None:
        """Show the row that the pager stands on."""
        if self.quiet:
            return
        if not self.rows:
            self.body.value = render.note("No prompt passes the filters. Choose “everything”.")
            return
        pair = self.rows[self.pager.place - 1]
        names = (self.left.value, self.right.value)
        self.body.value = render.comparison(
            pair, names, self.collection, self.search.value.strip(), self.diff.value)
