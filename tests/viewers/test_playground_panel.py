import re
import threading
from collections.abc import Iterator

import pytest

from lib.viewers.playground_panel import PlaygroundPanel
from tests.viewers.viewer_rows import HOSTILE


def stream(prompt: str, system: str, temperature: float, top_k: int, n: int
           ) -> Iterator[tuple[int, str]]:
    for length in (1, 2):
        for candidate in range(n):
            yield candidate, f"{system} says {prompt} <b> {'x' * length * (candidate + 1)}"


def score(prompt: str, texts: list[str]) -> dict[str, list[float | None]]:
    return {"selector": [float(len(text)) for text in texts], "judge": [None] * len(texts)}


@pytest.fixture
def panel() -> PlaygroundPanel:
    panel = PlaygroundPanel(stream, score, ["base", "sft", "dpo"], n=3)
    panel.prompt.value = "hello"
    panel.systems["sft"].value = True
    return panel


def run(panel: PlaygroundPanel) -> None:
    panel.go.click()
    panel.thread.join(timeout=10)


def test_every_chosen_system_answers_with_n_candidates(panel: PlaygroundPanel) -> None:
    run(panel)
    assert panel.body.value.count("<article") == 6
    assert "sft says hello &lt;b&gt; xx" in panel.body.value
    assert "base says" not in panel.body.value


def test_the_best_by_the_first_model_is_marked(panel: PlaygroundPanel) -> None:
    run(panel)
    assert panel.body.value.count(">chosen<") == 2
    assert panel.body.value.index("xxxxxx") > panel.body.value.index(">chosen<")


def test_a_missing_score_is_shown_as_missing(panel: PlaygroundPanel) -> None:
    run(panel)
    assert panel.body.value.count("<dd>–</dd>") == 6


def test_the_settings_reach_the_stream(panel: PlaygroundPanel) -> None:
    seen = []
    panel.stream = lambda *settings: iter(seen.append(settings) or [(0, "x")])
    panel.temperature.value, panel.top_k.value, panel.n.value = 0.9, 20, 2
    run(panel)
    assert seen == [("hello", "sft", 0.9, 20, 2), ("hello", "dpo", 0.9, 20, 2)]


def test_hostile_text_stays_text_while_it_streams(panel: PlaygroundPanel) -> None:
    panel.stream = lambda *settings: iter(enumerate(HOSTILE.values()))
    run(panel)
    assert panel.body.value.count("<article") == 2 * len(HOSTILE)
    assert not re.search("<(script|img|iframe|a|link|style)[ >]", panel.body.value)


def test_stop_ends_the_stream(panel: PlaygroundPanel) -> None:
    reached, closed = threading.Event(), threading.Event()

    def endless(*settings: object) -> Iterator[tuple[int, str]]:
        try:
            while True:
                reached.set()
                yield 0, "still talking"
        finally:
            closed.set()

    panel.stream = endless
    panel.go.click()
    assert reached.wait(timeout=10)
    panel.stop.click()
    panel.thread.join(timeout=10)
    assert not panel.thread.is_alive()
    assert closed.is_set()
    assert "stopped after" in panel.state.value
    assert not panel.go.disabled


def test_a_failure_is_said_and_the_panel_can_be_used_again(panel: PlaygroundPanel) -> None:
    def broken(*settings: object) -> Iterator[tuple[int, str]]:
        raise ValueError("top_k is 0; use at least 1")
        yield 0, ""

    panel.stream = broken
    run(panel)
    assert "That did not work: top_k is 0" in panel.state.value
    panel.stream = stream
    run(panel)
    assert "done after" in panel.state.value


def test_without_a_prompt_nothing_starts(panel: PlaygroundPanel) -> None:
    panel.prompt.value = "  "
    panel.go.click()
    assert panel.thread is None
    assert "Type a prompt" in panel.state.value
