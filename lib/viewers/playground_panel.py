"""A playground: type a prompt, watch several systems answer, see which answer is chosen.

The panel knows no model. It is given `stream(prompt, system, temperature, top_k, n)`, which yields
(candidate, text so far), and `score(prompt, texts)`, which gives scores of each reward model; the
first model listed chooses. Generation runs in a thread, so that the stop button is heard.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML, display

from lib.viewers import render
from lib.viewers.controls import Panel, button, row, switch
from lib.viewers.marks import shown
from lib.viewers.show import is_live, show_panel
from lib.viewers.visible import visible

Scores = Mapping[str, Sequence[float | None]]
Stream = Callable[[str, str, float, int, int], Iterator[tuple[int, str]]]
Score = Callable[[str, Sequence[str]], Scores]

SECONDS_BETWEEN_PICTURES = 0.15
CHOSEN = [{"kind": "chosen", "label": "chosen"}]
EXPECTED = (ValueError, RuntimeError, OSError)  # bad settings, no memory, no model file


def show_playground(
    stream: Stream, score: Score, systems: Sequence[str], temperature: float = 0.6, top_k: int = 50,
    n: int = 4, interactive: bool | None = None,
) -> None:
    """Show the playground; headless, one sentence that says where it lives."""
    if is_live(interactive):
        show_panel(PlaygroundPanel(stream, score, systems, temperature, top_k, n))
    else:
        display(HTML(render.style() + render.note(
            "The playground answers prompts in a running JupyterLab (make lab).")))


class PlaygroundPanel(Panel):
    """Lets the chosen systems answer a prompt, n candidates each.

    `go` starts, `stop` stops, `body.value` is what is shown.
    """

    def __init__(self, stream: Stream, score: Score, systems: Sequence[str],
                 temperature: float = 0.6, top_k: int = 50, n: int = 4) -> None:
        self.stream, self.score = stream, score
        self.stopped, self.thread = threading.Event(), None
        self._make_controls(systems, temperature, top_k, n)
        super().__init__(
            self.prompt, row(widgets.Label("Systems"), *self.systems.values()),
            row(self.temperature, self.top_k, self.n),
            row(self.go, self.stop, self.state), self.body,
        )

    def _make_controls(self, systems: Sequence[str], temperature: float, top_k: int, n: int
                       ) -> None:
        narrow = {"style": {"description_width": "auto"}, "layout": {"width": "150px"}}
        self.prompt = widgets.Textarea(placeholder="Type a prompt", description="Prompt",
                                       style={"description_width": "auto"},
                                       layout={"width": "min(100%, 760px)", "height": "72px"})
        self.systems = {system: switch(system, lambda: None, system == systems[-1])
                        for system in systems}
        self.temperature = widgets.BoundedFloatText(
            value=temperature, min=0, max=2, step=0.1, description="Temperature", **narrow)
        self.top_k = widgets.BoundedIntText(
            value=top_k, min=0, max=100_000, description="Top-k", **narrow)
        self.n = widgets.BoundedIntText(value=n, min=1, max=64, description="N", **narrow)
        self.go = button("Answer", self.start, style="primary")
        self.stop = button("Stop", self.stopped.set)
        self.stop.disabled = True
        self.state, self.body = widgets.HTML(), widgets.HTML()
        self.body.value = render.note("Answers appear here side by side as they are written; the "
                                      "one that Best-of-N would choose is marked.")

    def asked(self) -> list[str]:
        """The systems that are to answer."""
        return [system for system, control in self.systems.items() if control.value]

    def start(self) -> None:
        """Answer in a thread; without a prompt or a system only say what is missing."""
        if not self.prompt.value.strip() or not self.asked():
            self.state.value = render.note("Type a prompt and choose at least one system.")
            return
        self.stopped.clear()
        self.go.disabled, self.stop.disabled = True, False
        self.thread = threading.Thread(target=self._answer, daemon=True)
        self.thread.start()

    def _answer(self) -> None:
        started = time.monotonic()
        try:
            tokens = self._answer_all(self.prompt.value.strip())
            verb = "stopped" if self.stopped.is_set() else "done"
            self.state.value = render.note(
                f"{verb} after {time.monotonic() - started:.1f} s, {tokens} steps")
        except EXPECTED as error:
            self.state.value = render.note(f"That did not work: {error}")
        finally:
            self.go.disabled, self.stop.disabled = False, True

    def _answer_all(self, prompt: str) -> int:
        """Let the systems answer one after the other; the number of steps that were streamed."""
        answers: dict[str, dict[int, str]] = {system: {} for system in self.asked()}
        scores: dict[str, Scores] = {}
        steps, drawn = 0, 0.0
        for system in answers:
            for candidate, text in self._streamed(prompt, system):
                answers[system][candidate] = text
                steps += 1
                if time.monotonic() - drawn >= SECONDS_BETWEEN_PICTURES:
                    self.state.value = render.note(f"{system} is answering…")
                    self.body.value, drawn = _picture(answers, scores), time.monotonic()
            if answers[system]:
                scores[system] = self.score(prompt, _texts(answers[system]))
        self.body.value = _picture(answers, scores)
        return steps

    def _streamed(self, prompt: str, system: str) -> Iterator[tuple[int, str]]:
        source = self.stream(prompt, system, self.temperature.value, self.top_k.value, self.n.value)
        for step in source:
            if self.stopped.is_set():
                return
            yield step


def _texts(candidates: Mapping[int, str]) -> list[str]:
    return [candidates[place] for place in sorted(candidates)]


def _picture(answers: Mapping[str, Mapping[int, str]], scores: Mapping[str, Scores]) -> str:
    columns = [
        {"system": system, "cards": _cards(_texts(candidates), scores.get(system, {}))}
        for system, candidates in answers.items()
    ]
    return render.fill("playground", columns=columns)


def _cards(texts: Sequence[str], scores: Scores) -> list[dict[str, Any]]:
    best = _best(next(iter(scores.values()), ()))
    return [
        {"name": f"#{place + 1}", "badges": CHOSEN if place == best else [], "facts": "",
         "text": shown(visible(text)), "tags": [], "checks": [],
         "scores": [_score(model, values, place) for model, values in scores.items()]}
        for place, text in enumerate(texts)
    ]


def _best(scores: Sequence[float | None]) -> int | None:
    scored = [place for place, score in enumerate(scores) if score is not None]
    return max(scored, key=lambda place: scores[place], default=None)


def _score(model: str, values: Sequence[float | None], place: int) -> dict[str, str]:
    known = [value for value in values if value is not None]
    value, reach = values[place], max(known, default=0.0) - min(known, default=0.0)
    width = 0.0 if value is None or not reach else 100 * (value - min(known)) / reach
    return {"model": model, "width": f"{width:.1f}", "words": render.number(value)}
