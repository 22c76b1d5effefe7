"""Response rows in the study's schema, made up for the tests of the analysis room."""

from collections.abc import Sequence

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
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


def compare(rows_a: Sequence[Row], rows_b: Sequence[Row], judge: str, a: str = "a", b: str = "b",
            **options: int) -> Row:
    """The win-rate row of two systems by one judge."""
    [row] = round_robin(scoreboard({b: rows_b, a: rows_a}, [judge]), [(a, b)], **options)
    return row
