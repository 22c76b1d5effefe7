"""The playground: every system is asked, the best is chosen, and each failure is said."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from lib.viewers.playground import Answer, PlaygroundPanel, Question, best


class Players:
    """Two or more systems that need no model; `seen` is what was asked of them, in order."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.scored: list[tuple[str, bool]] = []
        self.limits: dict[str, int] = {}

    def load(self, system: str) -> None:
        self.seen.append(f"load {system}")

    def limit(self, system: str, prompt: str) -> int | None:
        return self.limits.get(system)

    def stream(self, system: str, question: Question, stopped: Callable[[], bool]
               ) -> Iterator[tuple[int, str, bool]]:
        """The limit cuts the first candidate."""
        self.seen.append((system, question))
        for length in (1, 2):
            for candidate in range(question.n):
                yield (candidate, f"{system} \x1b says {'x' * length * (candidate + 1)}",
                       length == 2 and candidate == 0)

    def score(self, prompt: str, answers: Sequence[Answer]) -> dict[str, list[float | None]]:
        self.seen.append("score")
        self.scored += answers
        return {"selector": [float(len(text)) for text, _ in answers],
                "judge": [None] * len(answers)}


ASK = {"kind": "ask", "ask": 1, "prompt": " hello ", "systems": ["sft", "dpo"], "temperature": 0.9,
       "top_k": 20, "n": 3}


class Shown:
    """A panel whose pictures are kept instead of sent."""

    def __init__(self) -> None:
        self.players = Players()
        self.panel = PlaygroundPanel(self.players, ["base", "sft", "dpo"], n=3)
        self.pictures: list[dict] = []
        self.panel.send = lambda content: self.pictures.append(content | {
            "columns": [dict(column) for column in content["columns"]]})

    def ask(self, **changes: Any) -> dict:
        self.panel.heard(ASK | changes)
        if self.panel.thread:
            self.panel.thread.join(timeout=10)
        return self.pictures[-1]


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_every_chosen_system_answers_with_n_candidates(shown: Shown) -> None:
    picture = shown.ask()
    assert [column["system"] for column in picture["columns"]] == ["sft", "dpo"]
    assert picture["columns"][0]["texts"] == [f"sft ␛ says {'x' * n}" for n in (2, 4, 6)]
    assert "done after" in picture["doing"]
    assert not picture["running"]


def test_an_answer_that_the_limit_cut_is_marked_and_scored_as_cut(shown: Shown) -> None:
    picture = shown.ask()
    assert [column["cut"] for column in picture["columns"]] == [[True, False, False]] * 2
    assert [cut for _, cut in shown.players.scored] == [True, False, False] * 2


def test_the_settings_reach_the_players(shown: Shown) -> None:
    shown.ask()
    assert shown.players.seen[1] == ("sft", Question("hello", 0.9, 20, 3))


def test_old_answers_are_cleared_at_once_and_each_step_is_told(shown: Shown) -> None:
    shown.ask()
    del shown.pictures[:]
    shown.ask(ask=2)
    told = [picture["doing"] for picture in shown.pictures]
    assert shown.pictures[0]["columns"] == []
    assert told[:3] == ["sft: loading the model…", "sft reads the prompt…", "sft is answering…"]
    assert "scoring the answers of sft…" in told
    assert {picture["ask"] for picture in shown.pictures} == {2}


def test_the_best_by_the_first_model_is_chosen(shown: Shown) -> None:
    assert [column["chosen"] for column in shown.ask()["columns"]] == [2, 2]


def test_an_empty_answer_is_never_chosen() -> None:
    assert best(["", " \n", "words"], [3.0, 2.0, 1.0]) == 2
    assert best(["", " "], [3.0, 2.0]) is None
    assert best(["a", "b"], [None, None]) is None
    assert best(["a"], []) is None


def test_a_prompt_that_was_cut_says_so(shown: Shown) -> None:
    shown.players.limits["dpo"] = 512
    notes = [column["note"] for column in shown.ask()["columns"]]
    assert notes == ["", "The prompt was cut: dpo reads its first 512 tokens."]


@pytest.mark.parametrize(("changes", "said"), [
    ({"prompt": "  "}, "the prompt is empty"),
    ({"systems": ["nobody"]}, "no system was chosen"),
    ({"temperature": 3}, "temperature is 3; use 0 to 2.0"),
    ({"top_k": "all"}, "top-k is all"),
    ({"n": None}, "N is None; use 1 to 64"),
])
def test_what_cannot_be_asked_is_said(changes: dict, said: str, shown: Shown) -> None:
    picture = shown.ask(**changes)
    assert said in picture["doing"]
    assert not picture["running"]
    assert shown.players.seen == []


class Endless(Players):
    """Talks until it is stopped, and tells when it has begun and ended."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.ended = threading.Event(), threading.Event()

    def stream(self, system: str, question: Question, stopped: Callable[[], bool]
               ) -> Iterator[tuple[int, str, bool]]:
        self.seen.append(system)
        while not stopped():
            self.began.set()
            yield 0, "still talking", False
        self.ended.set()


@pytest.fixture
def endless(shown: Shown) -> Shown:
    shown.players = shown.panel.players = Endless()
    shown.panel.heard(ASK)
    assert shown.players.began.wait(timeout=10)
    return shown


def test_stop_ends_the_stream_and_neither_scores_nor_asks_the_next_system(endless: Shown) -> None:
    endless.panel.heard({"kind": "stop"})
    endless.panel.thread.join(timeout=10)
    assert endless.players.seen == ["load sft", "sft"]
    assert "stopped after" in endless.pictures[-1]["doing"]


def test_the_cell_run_again_stops_the_old_generation_and_lets_its_models_go(
    endless: Shown
) -> None:
    PlaygroundPanel(Players(), ["dpo"])
    endless.panel.thread.join(timeout=10)
    assert not endless.panel.thread.is_alive()
    assert endless.panel.players is None


def test_a_second_question_waits_for_the_first_answer(endless: Shown) -> None:
    thread = endless.panel.thread
    endless.panel.heard(ASK | {"ask": 2})
    assert endless.panel.thread is thread
    endless.panel.close()
    thread.join(timeout=10)


def test_a_failure_is_said_and_the_panel_can_be_used_again(shown: Shown) -> None:
    def broken(*_: object) -> Iterator[tuple[int, str, bool]]:
        raise ValueError("the context is too long; lower max_new_tokens")
        yield 0, "", False

    shown.players.stream = broken
    assert "That did not work: the context is too long" in shown.ask()["doing"]
    del shown.players.stream
    assert "done after" in shown.ask()["doing"]


def test_a_view_that_opens_late_sees_the_last_picture(shown: Shown) -> None:
    last = shown.ask()
    shown.panel.heard({"kind": "ready"})
    assert shown.pictures[-1] == last
