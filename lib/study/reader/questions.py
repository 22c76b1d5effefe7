"""The answers of a run that a reader is asked about: the different ones, prompt by prompt.

In: responses/<system>.jsonl and the held-out prompts of a run folder. Out: questions, in which no
system, score or pool is left. A random pick, the control of a Best-of-N, is a draw like that of
its policy and is not read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.analysis.comparisons.scoreboard import answered, chosen
from lib.data.parquet import read_parquet
from lib.data.splits import held_out_subset
from lib.inference.systems import RANDOM, System
from lib.runtime.files import FileError, Row, read_json, read_jsonl, shown

KEY_LENGTH = 12  # hex digits: two of a million answers share a key once in 500 runs


@dataclass(frozen=True)
class Answer:
    """A stripped text under a prompt; the key names it without saying whose it is."""

    key: str
    text: str


@dataclass(frozen=True)
class Question:
    """A prompt, its reference (None without one) and different answers to it, ordered by key."""

    id: str
    prompt: str
    reference: str | None
    answers: tuple[Answer, ...]


def key_of(prompt_id: str, text: str) -> str:
    """The key of an answer: the same for equal stripped texts under one prompt, in every run."""
    whole = f"{prompt_id}\n{text.strip()}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(whole).hexdigest()[:KEY_LENGTH]


def seed_of(run: Path) -> int:
    """The seed with which a run chose its held-out prompts; raises FileError for no run folder."""
    path = run / "data" / "manifest.json"
    if not path.exists():
        raise FileError(f"{shown(run)} is no run folder with finished data; name one that a study "
                        "wrote, for example runs/laptop")
    return int(read_json(path)["parameters"]["data"]["seed"])


def questions_of(run: Path, prompts: int) -> list[Question]:
    """Every different answer of the run's systems to `prompts` held-out prompts (or all, if fewer).

    The prompts are a seeded subset, balanced by source; a smaller one is part of a larger one.
    Raises FileError for a run without answers.
    """
    heldout = read_parquet(run / "data" / "heldout.parquet")
    asked = held_out_subset(heldout, min(prompts, len(heldout)), seed_of(run))
    texts = _texts(run)
    return [Question(row["id"], row["prompt"], row.get("reference") or None,
                     _answers(row["id"], texts.get(row["id"], set())))
            for row in asked if texts.get(row["id"])]


def _answers(prompt_id: str, texts: set[str]) -> tuple[Answer, ...]:
    answers = [Answer(key_of(prompt_id, text), text) for text in texts]
    return tuple(sorted(answers, key=lambda answer: answer.key))


def _texts(run: Path) -> dict[str, set[str]]:
    """Prompt id -> the different texts with which the run's systems answer it."""
    texts: dict[str, set[str]] = {}
    for _, row, answer in answers_of(run):
        texts.setdefault(row["id"], set()).add(answer["text"].strip())
    return texts


def answers_of(run: Path) -> Iterator[tuple[str, Row, Row]]:
    """(system, response row, its answer) of every system that is read.

    Raises FileError for a run without answers.
    """
    files = [file for file in sorted((run / "responses").glob("*.jsonl"))
             if System.parse(file.stem).rule != RANDOM]
    if not files:
        raise FileError(f"{shown(run)} has no answers to read; run notebook 04_best_of_n first "
                        "(or python -m lib.study), and name its run folder")
    for file in files:
        yield from ((file.stem, row, chosen(row)) for row in answered(read_jsonl(file)))


def without(questions: Sequence[Question], read: set[str]) -> list[Question]:
    """The questions with the answers whose key is not in `read`; a question without any is gone."""
    kept = [Question(each.id, each.prompt, each.reference, tuple(
        answer for answer in each.answers if answer.key not in read)) for each in questions]
    return [each for each in kept if each.answers]
