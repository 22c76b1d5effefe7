"""Blind voting in a notebook: two answers without names, four verdicts, each vote on disk at once.

Order and sides come from the seed (`blind.py`), so that a rater can stop and go on another day. The
panel keeps nothing in memory that is not in the votes file.
"""

import time
from functools import partial
from pathlib import Path

import ipywidgets as widgets

from lib.viewers import render
from lib.viewers.blind import shuffled, sides
from lib.viewers.controls import Panel, key_button, picker, row
from lib.viewers.rows import Collection, Pair, ViewerError, pairs
from lib.viewers.votes import (
    ENOUGH,
    UNDO,
    VERDICTS,
    Vote,
    agreement_with,
    append_vote,
    human_result,
    last_votes,
    read_votes,
)

NAMELESS = "who gave no name"


class VotePanel(Panel):
    """Blind votes on a (else the last system) and b (else the first), appended to `path`.

    `verdicts` are the buttons, `body.value` shows the two answers.
    """

    def __init__(self, collection: Collection, path: Path, a: str | None = None,
                 b: str | None = None, seed: int = 0) -> None:
        if len(collection.systems) < 2:
            raise ViewerError(f"one system ({collection.systems[0]}) cannot be voted on; "
                              "pass the responses of at least two")
        self.collection, self.path, self.seed = collection, path, seed
        self.skipped: list[str] = []
        self.current: str | None = None
        self.shown_at = time.monotonic()
        self._make_controls(a or collection.systems[-1], b or collection.systems[0])
        super().__init__(
            row(self.one, self.other, self.rater),
            row(self.progress, self.state, self.reveal), self.body,
            row(*self.verdicts.values(), self.skip, self.undo, self.note),
            self.last, self.results,
        )
        self.update()

    def _make_controls(self, a: str, b: str) -> None:
        systems = self.collection.systems
        self.one = picker("Between", systems, self.update, a)
        self.other = picker("and", systems, self.update, b)
        self.rater = widgets.Text(description="Your name", continuous_update=False,
                                  style={"description_width": "auto"}, layout={"width": "240px"})
        self.rater.observe(lambda _: self.update(), "value")
        self.reveal = widgets.Checkbox(description="Tell me after each vote which was which",
                                       indent=False, layout={"width": "auto"})
        self.progress = widgets.IntProgress(layout={"width": "200px", "height": "14px"})
        self.state, self.body = widgets.HTML(), widgets.HTML()
        self.last, self.results = widgets.HTML(), widgets.HTML()
        self.note = widgets.Text(placeholder="optional", description="Note",
                                 style={"description_width": "auto"}, layout={"width": "260px"})
        self.verdicts = {
            verdict: key_button(str(key), label, partial(self.vote, verdict), "primary")
            for key, (verdict, label) in enumerate(VERDICTS.items(), start=1)
        }
        self.skip = key_button("s", "Skip", self.put_off)
        self.undo = key_button("u", "Undo", self.take_back)

    def systems(self) -> tuple[str, str]:
        """The two systems that are compared."""
        return self.one.value, self.other.value

    def mine(self) -> dict[str, Vote]:
        """The rater's valid votes on the two systems, read from the file."""
        self.damage: list[str] = []
        self.votes = read_votes(self.path, self.damage.append)
        return last_votes(self.votes, self.rater.value.strip(), *self.systems())

    def update(self) -> None:
        """Show the first prompt that is not judged; those put off come last."""
        different = [pair for pair in pairs(self.collection, *self.systems()) if not pair.identical]
        self.pairs = {pair.prompt.id: pair for pair in different}
        votes = self.mine()
        waiting = [id for id in shuffled(self.pairs, self.seed) if id not in votes]
        order = [id for id in waiting if id not in self.skipped]
        order += [id for id in self.skipped if id in waiting]
        self.show(order[0] if order else None, votes)

    def show(self, id: str | None, votes: dict[str, Vote]) -> None:
        """Show one prompt with its answers, or that all are judged."""
        self.current, self.shown_at = id, time.monotonic()
        self.progress.max, self.progress.value = max(1, len(self.pairs)), len(votes)
        self.state.value = render.note(
            " ".join([f"{len(votes)} of {len(self.pairs)} judged.", *self.damage]))
        for control in (*self.verdicts.values(), self.skip):
            control.disabled = id is None
        self.undo.disabled = not votes
        self.results.value = self._results(votes)
        if id is None:
            self.body.value = render.note("Every pair that differs is judged. Thank you.")
            return
        prompt = self.pairs[id].prompt
        left, right = (prompt.answer(system) for system in sides(*self.systems(), id, self.seed))
        self.body.value = render.blind_comparison(prompt, left, right)

    def vote(self, verdict: str) -> None:
        """Write the verdict and go on; a click with nothing shown does nothing."""
        if self.current is None:
            return
        left, right = sides(*self.systems(), self.current, self.seed)
        self._write(self.current, left, right, verdict)
        self.last.value = self._reveal(self.pairs[self.current], left, right, verdict)
        self.update()

    def put_off(self) -> None:
        """Skip: this prompt comes again at the end."""
        if self.current is not None:
            self.skipped = [id for id in self.skipped if id != self.current] + [self.current]
            self.update()

    def take_back(self) -> None:
        """Undo the last vote and show its prompt again."""
        votes = self.mine()
        if votes:
            last = list(votes.values())[-1]
            self._write(last.id, last.left, last.right, UNDO)
            self.last.value = ""
            self.update()
            self.show(last.id, self.mine())

    def _write(self, id: str, left: str, right: str, verdict: str) -> None:
        seconds = round(time.monotonic() - self.shown_at, 1)
        append_vote(self.path, Vote(id, left, right, verdict, self.rater.value.strip(), self.seed,
                                    seconds, self.note.value.strip()))
        self.note.value = ""

    def _winner(self, pair: Pair, model: str) -> str | None:
        one, other = self.systems()
        return {"a": one, "b": other, "tie": "tie", None: None}[pair.winner(model)]

    def _reveal(self, pair: Pair, left: str, right: str, verdict: str) -> str:
        if not self.reveal.value:
            return ""
        scores = ", ".join(f"{model}: {self._winner(pair, model) or 'not scored'}"
                           for model in self.collection.models)
        return render.note(f"A was {left}, B was {right}; your vote: {VERDICTS[verdict]}. {scores}")

    def _results(self, votes: dict[str, Vote]) -> str:
        if len(votes) < ENOUGH:
            return render.note(f"Results are shown after {ENOUGH} votes. The keys on the buttons "
                               "work after a click into this panel.")
        one, other = self.systems()
        found = human_result(votes, one)
        lines = [f"By {found.n} votes {one} wins {found.win_rate:.3f} "
                 f"[{found.low:.3f}, {found.high:.3f}] against {other}."]
        for other, winners in (self._by_models() | self._by_raters()).items():
            if agreed := agreement_with(votes, winners):
                lines.append(f"{other} agrees in {agreed.share:.0%} of {agreed.n}, "
                             f"kappa {render.number(agreed.kappa)}.")
        return render.note(*lines)

    def _by_models(self) -> dict[str, dict[str, str | None]]:
        """The winner of each prompt by each model."""
        return {model: {id: self._winner(pair, model) for id, pair in self.pairs.items()}
                for model in self.collection.models}

    def _by_raters(self) -> dict[str, dict[str, str | None]]:
        """The winner of each prompt by each of the others who voted on these two systems."""
        others = dict.fromkeys(vote.rater for vote in self.votes)
        others.pop(self.rater.value.strip(), None)
        return {rater or NAMELESS: {id: vote.winner() for id, vote in last_votes(
            self.votes, rater, *self.systems()).items()} for rater in others}
