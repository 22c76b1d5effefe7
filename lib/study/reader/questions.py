"""The answers of a run that a reader is asked about: the different ones, prompt by prompt.

In: responses/<system>.jsonl, arms/<arm>/answers.jsonl of the arms that are asked for, and the
held-out prompts of a run folder. Out: questions, in which no system, score or pool is left. A
random pick, the control of a Best-of-N, is a draw like that of its policy and is not read; of an
arm's answers to a prompt the first is.
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


def questions_of(run: Path, prompts: int, arms: Sequence[str] = ()) -> list[Question]:
    """Every different answer of the run's systems to `prompts` held-out prompts (or all, if fewer).

    arms: of notebook 06, whose answers are asked about too. Raises FileError for a run without
    answers, and for an arm without.
    """
    asked, texts = prompts_read(run, prompts), _texts(run, arms)
    return [Question(row["id"], row["prompt"], row.get("reference") or None,
                     _answers(row["id"], texts.get(row["id"], set())))
            for row in asked if texts.get(row["id"])]


def prompts_read(run: Path, prompts: int) -> list[Row]:
    """A seeded subset of the held-out prompts, balanced by source, or all if they are fewer.

    A smaller one is part of a larger one.
    """
    heldout = read_parquet(run / "data" / "heldout.parquet")
    return held_out_subset(heldout, min(prompts, len(heldout)), seed_of(run))


def _answers(prompt_id: str, texts: set[str]) -> tuple[Answer, ...]:
    answers = [Answer(key_of(prompt_id, text), text) for text in texts]
    return tuple(sorted(answers, key=lambda answer: answer.key))


def _texts(run: Path, arms: Sequence[str]) -> dict[str, set[str]]:
    """Prompt id -> the different texts with which the run's systems and arms answer it."""
    texts: dict[str, set[str]] = {}
    for _, row, answer in answers_of(run, arms):
        texts.setdefault(row["id"], set()).add(answer["text"].strip())
    return texts


def answers_of(run: Path, arms: Sequence[str] = ()) -> Iterator[tuple[str, Row, Row]]:
    """(system, response row, its answer) of every system that is read, and of the arms.

    Raises FileError for a run without answers, and for an arm without.
    """
    if missing := [arm for arm in arms if arm not in finished_arms(run)]:
        known = ", ".join(finished_arms(run)) or "none; run notebook 06_beyond_the_paper first"
        raise FileError(f"{shown(run)} has no answers of {', '.join(missing)}; it has those of "
                        f"{known}")
    files = [file for file in sorted((run / "responses").glob("*.jsonl"))
             if System.parse(file.stem).rule != RANDOM]
    if not files:
        raise FileError(f"{shown(run)} has no answers to read; run notebook 04_best_of_n first "
                        "(or python -m lib.study), and name its run folder")
    for file in files:
        yield from ((file.stem, row, chosen(row)) for row in answered(read_jsonl(file)))
    for arm in arms:
        yield from ((arm, row, chosen(row)) for row in answered(single_answers(
            read_jsonl(run / "arms" / arm / "answers.jsonl"))))


def sft_pairs(run: Path, arms: Sequence[str]) -> list[list[str]]:
    """The keys of an arm's answer and of SFT's to each prompt where they differ: [arm's, SFT's].

    One reader reads both, because the arm is compared with SFT.
    """
    keys: dict[str, dict[str, str]] = {}
    for system, row, answer in answers_of(run, arms):
        keys.setdefault(system, {})[row["id"]] = key_of(row["id"], answer["text"])
    sft = keys.get("sft", {})
    return [[key, sft[prompt]] for arm in arms for prompt, key in keys.get(arm, {}).items()
            if prompt in sft and sft[prompt] != key]


def finished_arms(run: Path) -> list[str]:
    """The arms of notebook 06 that have answered the held-out prompts."""
    return sorted(path.parent.name for path in (run / "arms").glob("*/manifest.json")
                  if (path.parent / "kl.jsonl").exists())


def single_answers(rows: Sequence[Row]) -> list[Row]:
    """An arm's answers as response rows of a system whose one answer is the first."""
    return [{**row, "candidates": row["candidates"][:1], "chosen": 0} for row in rows]


def only(questions: Sequence[Question], keys: set[str]) -> list[Question]:
    """The questions with the answers whose key is in `keys`; a question without any is gone."""
    kept = [Question(each.id, each.prompt, each.reference, tuple(
        answer for answer in each.answers if answer.key in keys)) for each in questions]
    return [each for each in kept if each.answers]
