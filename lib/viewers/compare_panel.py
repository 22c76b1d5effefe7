"""Two systems side by side in a notebook: choose, search, filter, sort, read.

The panel holds no logic of its own: it turns its controls into a `Filter`, asks `filters.select`
for the rows and shows `render.comparison` of the current one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import ipywidgets as widgets

from lib.viewers import render
from lib.viewers.controls import (
    Histogram,
    Pager,
    Panel,
    button,
    choice,
    number_field,
    picker,
    row,
    search_field,
    switch,
)
from lib.viewers.filters import BARS, FLAGS, ORDERS, PRESETS, Filter, histogram, select, summary
from lib.viewers.rows import Collection, Pair, ViewerError, pairs

EVERYWHERE = (-math.inf, math.inf)


class ComparePanel(Panel):
    """Compares any two systems, at first a (else the last) with b (else the first).

    `rows` are the pairs that pass the filters, `body.value` is what is shown.
    """

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
        self.pager, self.histogram = Pager(self.show), Histogram(BARS, self.click_bar)
        self.numbers, self.body = widgets.HTML(), widgets.HTML()
        self.numbers.layout.flex = "1 1 320px"
        super().__init__(
            row(self.left, self.right, self.swap, self.search),
            row(*self.presets.values()), row(self.numbers, self.histogram), self.more,
            row(self.pager, self.diff), self.body,
        )
        self.children[2].add_class("presets")
        self.quiet = False
        self.update()

    def _make_choices(self, a: str | None, b: str | None) -> None:
        systems = self.collection.systems
        self.left = picker("Left", systems, self.restart, a or systems[-1])
        self.right = picker("Right", systems, self.restart, b or systems[0])
        self.swap = button("⇄ Swap", self.exchange, "Swap left and right")
        self.presets = {name: button(name, partial(self.apply, name)) for name in PRESETS}

    def _make_filters(self) -> None:
        models = self.collection.models or ("no scores",)
        sources = sorted({prompt.source for prompt in self.collection.prompts})
        longest = max(answer.tokens for prompt in self.collection.prompts
                      for pool in prompt.pools for answer in pool.answers)
        self.search = search_field(self.update)
        self.diff = switch("d Mark words", self.show, True, "Mark words (d)")
        self.score = choice("Scores of", models, self.restart)
        self.winner = choice("Winner", ("any", "left", "tie", "right"), self.update)
        self.order = choice("Order", ORDERS, self.update)
        self.seed = number_field("Seed", 0, self.update)
        self.flags = {name: switch(name, self.update) for name in FLAGS}
        self.sources = {name: switch(name, self.update) for name in sources if name}
        self.shortest = number_field("Tokens from", 0, self.update)
        self.longest = number_field("to", longest, self.update)
        self.everything = Filter(tokens=(0, longest))
        inside = widgets.VBox([
            row(self.score, self.winner), row(self.order, self.seed),
            row(widgets.Label("Only pairs that"), *self.flags.values()),
            row(widgets.Label("Sources"), *self.sources.values()),
            row(self.shortest, self.longest),
        ])
        self.more = widgets.Accordion([inside], titles=["Filters, order, scores"])

    def apply(self, name: str) -> None:
        """Set the controls to a preset."""
        flags, order = PRESETS[name]
        self.quiet, self.gap = True, EVERYWHERE
        for flag, control in self.flags.items():
            control.value = flag in flags
        self.order.value, self.winner.value, self.search.value = order, "any", ""
        self.shortest.value, self.longest.value = self.everything.tokens
        for control in self.sources.values():
            control.value = False
        self.quiet = False
        self.update()

    def exchange(self) -> None:
        """The left system becomes the right one."""
        self.quiet = True
        self.left.value, self.right.value = self.right.value, self.left.value
        self.quiet = False
        self.restart()

    def restart(self) -> None:
        """Other systems or scores: a bar that was clicked means nothing now."""
        self.gap = EVERYWHERE
        self.update()

    def wanted(self) -> Filter:
        """What the controls ask for."""
        winner = {"left": "a", "right": "b"}.get(self.winner.value, self.winner.value)
        return Filter(
            self.score.value, self.search.value.strip(), _pressed(self.sources), winner,
            self.gap, (self.shortest.value, self.longest.value), _pressed(self.flags),
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
        self._show_preset()
        self.quiet = True
        self.pager.resize(len(self.rows), len(everything))
        self.quiet = False
        self.show()

    def _show_numbers(self) -> None:
        self.numbers.value = render.slice_in_words(
            summary(self.rows, self.score.value), self.left.value, self.right.value,
            self.score.value)

    def _show_bars(self, everything: Sequence[Pair]) -> None:
        self.bars = histogram(everything, self.score.value)[::-1]  # left wins on the left
        gaps = [(bar.low, bar.high) for bar in self.bars]
        self.histogram.show(self.bars, gaps.index(self.gap) if self.gap in gaps else None)

    def click_bar(self, place: int) -> None:
        """Filter to the bar that was clicked, or to all when it was chosen already."""
        gap = (self.bars[place].low, self.bars[place].high)
        self.gap = EVERYWHERE if gap == self.gap else gap
        self.update()

    def _show_preset(self) -> None:
        """The preset that the controls amount to, if any, looks pressed."""
        now = self.wanted()
        for name, (flags, order) in PRESETS.items():
            same = replace(self.everything, score=now.score, seed=now.seed,
                           flags=frozenset(flags), order=order)
            self.presets[name].button_style = "info" if now == same else ""

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


def _pressed(switches: Mapping[str, widgets.ToggleButton]) -> frozenset[str]:
    return frozenset(name for name, control in switches.items() if control.value)
