"""A playground: type a prompt, watch several systems answer, see which answer is chosen.

The panel knows no model. It asks `Players` for answers step by step and for their scores; the first
reward model listed chooses. Generation runs in a thread, so that Stop is heard between two steps.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from IPython.display import HTML, display

from lib.runtime.files import Row
from lib.viewers.live import is_live
from lib.viewers.panel import Panel
from lib.viewers.visible import visible

Answer = tuple[str, bool]  # its text, and whether it was cut at the token limit
Scores = Mapping[str, Sequence[float | None]]
SECONDS_BETWEEN_PICTURES = 0.15
EXPECTED = (ValueError, RuntimeError, OSError)  # bad settings, no memory, no model file
MOST_SAMPLES, HOTTEST, LARGEST_TOP_K = 64, 2.0, 100_000


@dataclass(frozen=True)
class Question:
    """A typed prompt and how to sample its answers; top_k 0 is the whole vocabulary."""

    prompt: str
    temperature: float
    top_k: int
    n: int


class Players(Protocol):
    """Systems that answer and reward models that score."""

    def load(self, system: str) -> None:
        """Make the system ready; this may take seconds."""

    def limit(self, system: str, prompt: str) -> int | None:
        """The limit in tokens to which the prompt is cut, None where it fits."""

    def stream(self, system: str, question: Question, stopped: Callable[[], bool]
               ) -> Iterator[tuple[int, str, bool]]:
        """Yield (candidate, its text so far, whether the limit cut it) until `stopped()`."""

    def score(self, prompt: str, answers: Sequence[Answer]) -> Scores:
        """Scores of each reward model, the one that chooses first."""


def show_playground(players: Players, systems: Sequence[str], temperature: float = 0.6,
                    top_k: int = 50, n: int = 4, interactive: bool | None = None) -> None:
    """Show the playground; headless, one sentence that says where it lives."""
    if is_live(interactive):
        PlaygroundPanel(players, systems, temperature, top_k, n).show()
    else:
        display(HTML("<p>The playground answers prompts in a running JupyterLab (make lab).</p>"))


class PlaygroundPanel(Panel):
    """Lets systems answer a prompt, n candidates each, one system after the other.

    `picture` is what the browser shows. Only the newest panel of a kernel runs: a cell that is run
    again closes the old panel, stops its generation and lets go of its models.
    """

    newest: ClassVar["PlaygroundPanel | None"] = None

    def __init__(self, players: Players, systems: Sequence[str], temperature: float = 0.6,
                 top_k: int = 50, n: int = 4) -> None:
        if PlaygroundPanel.newest is not None:
            PlaygroundPanel.newest.close()
        PlaygroundPanel.newest = self
        self.players: Players | None = players
        self.systems, self.stopped = tuple(systems), threading.Event()
        self.thread: threading.Thread | None = None
        self.picture: dict[str, Any] = {}
        super().__init__(setup={"kind": "playground", "systems": list(systems), "n": n,
                                "temperature": temperature, "top_k": top_k})

    def close(self) -> None:
        """Stop, and let go of the models."""
        self.stopped.set()
        self.players = None
        super().close()

    def heard(self, message: Mapping[str, Any]) -> None:
        """Start, stop, or show again."""
        kind = message.get("kind")
        if kind == "ready":
            self._show()
        elif kind == "stop":
            self.stopped.set()
        elif kind == "ask" and not self.picture.get("running"):
            self.ask(message)

    def ask(self, message: Mapping[str, Any]) -> None:
        """Answer in a thread; what cannot be asked is said."""
        self.picture = {"ask": message.get("ask"), "running": True, "doing": "starting…",
                        "columns": []}
        try:
            question, systems = _question(message), self._asked(message)
        except EXPECTED as error:
            self._say(f"That did not work: {error}", running=False)
            return
        self.stopped.clear()
        self.thread = threading.Thread(target=self._answer, daemon=True,
                                       args=(self.players, question, systems))
        self.thread.start()

    def _asked(self, message: Mapping[str, Any]) -> list[str]:
        systems = [system for system in self.systems if system in (message.get("systems") or ())]
        if not systems:
            raise ValueError("no system was chosen; choose at least one")
        return systems

    def _answer(self, players: Players, question: Question, systems: Sequence[str]) -> None:
        started = time.monotonic()
        try:
            for system in systems:
                self._answer_one(players, question, system)
            verb = "stopped" if self.stopped.is_set() else "done"
            self._say(f"{verb} after {time.monotonic() - started:.1f} s", running=False)
        except EXPECTED as error:
            self._say(f"That did not work: {error}", running=False)
        finally:
            if self.picture["running"]:
                self._say("That failed; the kernel's log has the reason.", running=False)

    def _answer_one(self, players: Players, question: Question, system: str) -> None:
        if not self._goes_on(f"{system}: loading the model…"):
            return
        players.load(system)
        limit = players.limit(system, question.prompt)
        column: Row = {"system": system, "texts": [], "cut": [], "scores": {}, "chosen": None,
                       "note": "" if limit is None else
                       f"The prompt was cut: {system} reads its first {limit} tokens."}
        self.picture["columns"].append(column)
        if not self._goes_on(f"{system} reads the prompt…"):
            return
        answers = self._streamed(players.stream(system, question, self.stopped.is_set), column)
        if answers and self._goes_on(f"scoring the answers of {system}…"):
            column["scores"] = players.score(question.prompt, answers)
            column["chosen"] = best([text for text, _ in answers],
                                    next(iter(column["scores"].values()), ()))

    def _streamed(self, steps: Iterator[tuple[int, str, bool]],
                  column: dict[str, Any]) -> list[Answer]:
        """The candidates' answers, shown while they grow."""
        candidates: dict[int, Answer] = {}
        drawn = 0.0
        for candidate, text, cut_off in steps:
            candidates[candidate] = text, cut_off
            answers = [candidates[place] for place in sorted(candidates)]
            column["texts"] = [visible(each) for each, _ in answers]
            column["cut"] = [cut for _, cut in answers]
            if self.stopped.is_set():
                break
            if time.monotonic() - drawn >= SECONDS_BETWEEN_PICTURES:
                self._say(f"{column['system']} is answering…")
                drawn = time.monotonic()
        return [candidates[place] for place in sorted(candidates)]

    def _goes_on(self, doing: str) -> bool:
        """Say what is done next, unless Stop was pressed."""
        if not self.stopped.is_set():
            self._say(doing)
        return not self.stopped.is_set()

    def _say(self, doing: str, running: bool = True) -> None:
        self.picture |= {"doing": doing, "running": running}
        self._show()

    def _show(self) -> None:
        if self.players is not None and self.picture:
            self.send({"kind": "picture", **self.picture})


def _question(message: Mapping[str, Any]) -> Question:
    """The question of a message; raises ValueError for what cannot be sampled."""
    prompt = str(message.get("prompt", "")).strip()
    temperature: Any = message.get("temperature")
    top_k: Any = message.get("top_k")
    n: Any = message.get("n")
    if not prompt:
        raise ValueError("the prompt is empty; type one")
    for name, value, low, high in (("temperature", temperature, 0, HOTTEST),
                                   ("top-k", top_k, 0, LARGEST_TOP_K), ("N", n, 1, MOST_SAMPLES)):
        if not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name} is {value}; use {low} to {high}")
    return Question(prompt, float(temperature), int(top_k), int(n))


def best(texts: Sequence[str], scores: Sequence[float | None]) -> int | None:
    """The place of the highest score among answers that say something, None without one."""
    scored = {place: score for place, score in enumerate(scores)
              if score is not None and texts[place].strip()}
    return max(scored, key=lambda place: scored[place], default=None)
