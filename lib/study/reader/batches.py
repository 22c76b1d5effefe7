"""Batches of answers to read, as Markdown for people and JSON for programs.

RUN/reader/batches/ gets each batch in both forms and a template of its scores; a reader is given
these and nothing else. `second_*` repeats some prompts for another reader. answers.jsonl remembers
what each key stands for, export.json what was asked. The run's seed draws every order, so that an
export can be repeated, and it lists only what no one has read yet.

An arm of notebook 06 is compared with SFT on the scale of a reader who read both answers: where no
one has, a batch has both, whoever read one of them before. So only what the comparison lacks is
asked for: an arm that is added later comes with SFT's answers, and without the arms that were read.
"""

import csv
import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase

from lib.runtime.files import FileError, Row, shown, write_json, write_jsonl, write_text
from lib.study.reader.questions import Answer, Question, only, questions_of, seed_of, sft_pairs
from lib.study.reader.readings import (
    FIRST,
    SECOND,
    Reading,
    arms_asked,
    known_answers,
    read_readings,
    scores_in,
    unread,
)
from lib.study.reader.rubric import FLAWS, INSTRUCTIONS, SCALE, rubric, rubric_hash
from lib.viewers.visible import visible

COLUMNS = ("key", "answer", "score", "reader", "flaws")
OURS = re.compile(rf"({FIRST}|{SECOND})_\d+\.(md|json|csv)")
Batch = Sequence[Question]


def export_batches(run: Path, prompts: int = 64, size: int = 150, twice: int = 60,
                   arms: Sequence[str] = ()) -> Row:
    """Write the batches of what is unread; returns export.json.

    prompts: held-out prompts; size: answers a batch at most, if no prompt alone has more; twice:
    answers at least that another reader gets too, whole prompts, and as many of the arms' with
    SFT's; arms: of notebook 06, to be read too. {"prompts", "answers", "arms" (name -> prompts that
    any export asked about), "rubric_sha256", "wanted" (key -> number of readers), "pairs" (keys
    that one reader reads: an arm's answer and SFT's), "batches" (name -> keys)}. Raises FileError
    for a run or an arm without answers, and for a filled template that was not imported.
    """
    folder, seed, readings = run / "reader", seed_of(run), read_readings(run)
    questions = questions_of(run, prompts, arms)
    pairs = sft_pairs(run, arms)
    paired = only(questions, {key for pair in pairs for key in pair})
    shared = only(questions, {key for part in (questions_of(run, prompts), paired)
                              for key in keys_of(_shared(part, twice, seed))})
    batches: dict[str, list[Question]] = {}
    for kind, times, asked in ((FIRST, 1, questions), (SECOND, 2, shared)):
        lacking = unread(keys_of(asked), pairs, readings, times)
        batches |= _batches(only(asked, lacking), kind, size, seed)
    _clear(folder / "batches", readings)
    write_jsonl(folder / "answers.jsonl", _known(run, questions))
    for number, (name, batch) in enumerate(batches.items(), start=1):
        _write(folder / "batches", name, batch, f"Batch {number} of {len(batches)}")
    plan = {"prompts": len(questions), "answers": len(keys_of(questions)),
            "arms": _arms(run, dict.fromkeys(arms, prompts)),
            "rubric_sha256": rubric_hash(),
            "wanted": dict.fromkeys(keys_of(questions), 1) | dict.fromkeys(keys_of(shared), 2),
            "pairs": pairs,
            "batches": {name: keys_of(batch) for name, batch in batches.items()}}
    write_json(folder / "export.json", plan)
    return plan


def keys_of(questions: Iterable[Question]) -> list[str]:
    """The keys of all answers, in order."""
    return [answer.key for question in questions for answer in question.answers]


def _arms(run: Path, asked: dict[str, int]) -> dict[str, int]:
    """The arms of this export and of earlier ones, each with the most prompts that were asked."""
    before = arms_asked(run)
    return {name: max(asked.get(name, 0), before.get(name, 0)) for name in before | asked}


def _known(run: Path, questions: Iterable[Question]) -> Iterable[Row]:
    """What every key stands for, those of earlier exports included."""
    return (known_answers(run) | {
        answer.key: {"key": answer.key, "id": each.id, "text": answer.text}
        for each in questions for answer in each.answers}).values()


def _shared(questions: Sequence[Question], twice: int, seed: int) -> list[Question]:
    """Whole prompts for a second reader, drawn until they have `twice` answers."""
    drawn: list[Question] = []
    order = list(questions)
    random.Random(f"{seed}/reader/twice").shuffle(order)
    for question in order:
        if len(keys_of(drawn)) < twice:
            drawn.append(question)
    return drawn


def _batches(questions: Sequence[Question], kind: str, size: int,
             seed: int) -> Iterator[tuple[str, list[Question]]]:
    """Named batches of at most `size` answers; prompts and their answers in a seeded order."""
    order = [_shuffled(question, f"{seed}/reader/{kind}/{question.id}") for question in questions]
    random.Random(f"{seed}/reader/{kind}").shuffle(order)
    batch: list[Question] = []
    number = 1
    for question in order:
        if batch and len(keys_of([*batch, question])) > size:
            yield f"{kind}_{number:02}", batch
            batch, number = [], number + 1
        batch.append(question)
    if batch:
        yield f"{kind}_{number:02}", batch


def _shuffled(question: Question, seed: str) -> Question:
    answers = list(question.answers)
    random.Random(seed).shuffle(answers)
    return Question(question.id, question.prompt, question.reference, tuple(answers))


def _clear(folder: Path, readings: Sequence[Reading]) -> None:
    """Remove the batches of an earlier export, unless a template holds scores of no reading."""
    known = {(reading.key, reading.score) for reading in readings}
    files = [file for file in folder.glob("*") if OURS.fullmatch(file.name)]
    for file in files:
        if file.suffix == ".csv" and (new := set(scores_in(file)) - known):
            raise FileError(f"{shown(file)} holds {len(new)} scores that were not imported; import "
                            "it first (--partial if it is not full), or move it away")
    for file in files:
        file.unlink()


def _write(folder: Path, name: str, batch: Batch, title: str) -> None:
    write_text(folder / f"{name}.md", as_markdown(batch, title, name))
    write_json(folder / f"{name}.json", as_json(batch, title))
    write_text(folder / f"{name}.csv", template(batch))


def lettered(question: Question) -> Iterator[tuple[str, Answer]]:
    """The answers of a question under A, B, ... Z, AA, AB, ..."""
    for place, answer in enumerate(question.answers):
        head, last = divmod(place, len(ascii_uppercase))
        yield (ascii_uppercase[head - 1] if head else "") + ascii_uppercase[last], answer


def as_json(batch: Batch, title: str) -> Row:
    """The batch as a program reads it, texts exactly as they are."""
    return {"title": title, **rubric(),
            "reply": 'JSON Lines, one an answer: {"key": "...", "score": 2.5, "reader": "your '
                     'name", "flaws": ["..."]}; flaws may be left out',
            "prompts": [{"number": number, "prompt": each.prompt, "reference": each.reference,
                         "answers": [{"letter": letter, "key": answer.key, "text": answer.text}
                                     for letter, answer in lettered(each)]}
                        for number, each in enumerate(batch, start=1)]}


def as_markdown(batch: Batch, title: str, name: str) -> str:
    """The batch as a person reads it; no text can leave its frame, hidden characters are shown."""
    parts = [f"# {title}: {len(keys_of(batch))} answers to {len(batch)} prompts",
             "\n".join(f"- {line}" for line in INSTRUCTIONS),
             "\n".join(["| score | meaning |", "| --- | --- |",
                        *(f"| {score} | {meaning} |" for score, meaning in SCALE)]),
             f"Write your scores into `{name}.csv`, with your name as reader on every line, or as "
             'JSON Lines such as `{"key": "...", "score": 2.5, "reader": "..."}`. If you like, '
             f"name flaws, with semicolons between them: {', '.join(FLAWS)}. Leave no answer out."]
    for number, question in enumerate(batch, start=1):
        parts += [f"## Prompt {number}", framed(question.prompt)]
        if question.reference:
            parts += ["One good answer, as reference:", framed(question.reference)]
        for letter, answer in lettered(question):
            parts += [f"### {number} {letter}, key `{answer.key}`",
                      framed(answer.text) if answer.text else "(This answer is empty.)"]
    return "\n\n".join(parts) + "\n"


def framed(text: str) -> str:
    """Text in a fence that is longer than any run of backticks inside it."""
    shown_text = visible(text)
    longest = max(map(len, re.findall("`+", shown_text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown_text}\n{fence}"


def template(batch: Batch) -> str:
    """The score file to fill: a line an answer, in the order of the batch."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, question in enumerate(batch, start=1):
        writer.writerows([answer.key, f"{number} {letter}", "", "", ""]
                         for letter, answer in lettered(question))
    return file.getvalue()
