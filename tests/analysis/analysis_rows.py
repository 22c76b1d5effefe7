"""Response rows in the study's schema, made up for the tests of the analysis room."""

from collections.abc import Sequence

import numpy as np

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.inference.rewards import ROLES
from lib.runtime.files import Row


def response(number: int, text: str, score: float | None, **others: float | None) -> Row:
    """One line of responses/<system>.jsonl with a single candidate scored by `judge`."""
    return {"id": f"p{number}", "prompt": f"Question {number}?",
            "source": "advice" if number % 2 else "coding", "chosen": 0,
            "candidates": [{"text": text, "tokens": len(text.split()), "finish": "stop",
                            "logprob": -1.0, "rewards": {"judge": score} | others}]}


def system(scores: list[float | None], name: str = "a") -> list[Row]:
    """Rows of one system whose texts differ from every other name's."""
    return [response(number, f"{name} says {'word ' * (number % 7 + 1)}{number}", score)
            for number, score in enumerate(scores)]


def read_systems(prompts: int = 40, read: int = 24, seed: int = 0,
                 names: tuple[str, str] = ("sft", "dpo")) -> dict[str, list[Row]]:
    """Two systems, of which the second is better; judge and selector see some of that.

    A reader reads the first `read` prompts; on every fifth prompt both give one answer.
    """
    random = np.random.default_rng(seed)
    made: dict[str, list[Row]] = {name: [] for name in names}
    for number in range(prompts):
        for name, better in zip(names, (0.0, 0.6), strict=True):
            quality = random.normal(better)
            text = f"the same {number}" if number % 5 == 0 else f"{name} {number}"
            scores = {judge: float(0.6 * quality + random.normal(0, 0.8)) for judge in ROLES}
            score = None if number >= read else \
                1.0 if number % 5 == 0 else float(np.clip(np.round(2 * (2 + quality)) / 2, 1, 10))
            made[name].append(response(number, text, scores["judge"],
                                       selector=scores["selector"], reader=score))
    return made


def compare(rows_a: Sequence[Row], rows_b: Sequence[Row], judge: str, a: str = "a", b: str = "b",
            **options: int) -> Row:
    """The win-rate row of two systems by one judge."""
    [row] = round_robin(scoreboard({b: rows_b, a: rows_a}, [judge]), [(a, b)], **options)
    return row
