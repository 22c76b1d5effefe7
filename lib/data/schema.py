"""The row schemas of the study, and converters from every source's rows.

In: rows of SmolTalk, ultrafeedback_binarized, TRL, or the sample corpus. Out: plain dicts of the
types below, which later stages trust. An error names the file, the row's number (from 1), the
column and its content. `curation` drops well-formed rows that training cannot use.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NotRequired, TypedDict, TypeVar, final

from lib.data.cells import SEEN, Cells, SchemaError
from lib.data.chat import Message
from lib.data.layouts.columns import RANKED, own_columns
from lib.data.layouts.reading import Reading
from lib.data.layouts.recognise import COMPLETION, DESIRABLE, LABEL, NAMES, layout_of
from lib.data.layouts.turns import first_of, is_turns
from lib.data.layouts.unpaired import UNDESIRABLE
from lib.runtime.files import Record, Row

Out = TypeVar("Out", bound=Record)


@final
class SftRow(TypedDict):
    """A conversation to learn from; every assistant turn is a response."""

    id: str
    messages: list[Message]
    source: str


MISSING = "missing"  # how a sampled candidate ended that a server did not give
CUT_OFF = "cut_off"  # the flaw of a scored answer that reached the token limit


@final
class PreferenceRow(TypedDict):
    """Two answers to one prompt; `prompt` holds all messages before the answer.

    cut_off_chosen, cut_off_rejected: the answer ran into a token limit, so it has no end of turn;
    columns that own data may leave out (false).
    """

    id: str
    prompt: list[Message]
    chosen: str
    rejected: str
    score_chosen: float | None
    score_rejected: float | None
    cut_off_chosen: bool
    cut_off_rejected: bool
    source: str


@final
class HeldoutRow(TypedDict):
    """A prompt for evaluation, with IFEval's verifiable instructions, if any."""

    id: str
    prompt: str
    reference: str | None
    source: str
    instruction_id_list: list[str]
    kwargs: list[dict[str, Any]]  # one dict an instruction


class ScoredAnswer(TypedDict):
    """One scored answer; score is on a 1-10 scale, flaws are names such as `cut_off`."""

    text: str
    score: float
    flaws: list[str]
    system: NotRequired[str]
    temperature: NotRequired[float]
    tokens: NotRequired[int]
    selected: NotRequired[str]


class ScoredRow(TypedDict):
    """A prompt (a text, or its messages) and its scored answers."""

    id: str
    prompt: str | list[Message]
    source: str
    answers: list[ScoredAnswer]


def convert(rows: Sequence[Row], to_row: Callable[[Cells], Out], name: str,
            places: Sequence[int] = (), reading: Reading | None = None) -> list[Out]:
    """Convert rows of the file or data set `name`; repeated ids get `~2`, `~3`, ...

    to_row: one of the four functions below. places: the rows' indices in `name`, for errors, if
    they are a choice from it. reading: says how to read them, and counts those that cannot be used;
    without it, and if there are no others, the first one raises SchemaError.
    """
    reading = reading or Reading(strict=True)
    if not rows:
        raise SchemaError(f"{name} has no rows; expected at least one")
    converted: list[Out] = []
    numbers: list[int] = []
    first: SchemaError | None = None
    for row, place in zip(rows, places or range(len(rows)), strict=True):
        try:
            cells = _standard(row, name, place + 1, reading)
            converted.append(to_row(cells))
            numbers.append(place + 1)
            reading.leaves(sorted(cells.unread()), f"{name}, row {place + 1}")
            reading.ranked += RANKED in cells.row
        except SchemaError as error:
            if reading.strict:
                raise
            reading.drop(error.reason, str(error))
            first = first or error
    if first and not converted:
        raise SchemaError(f"none of the {len(rows):,} rows can be used; the first: {first}",
                          first.reason)
    _number_repeated(converted)
    reading.name = name
    reading.numbers |= {row["id"]: number
                        for row, number in zip(converted, numbers, strict=True)}
    return converted


def _standard(row: Row, name: str, number: int, reading: Reading) -> Cells:
    """The row's cells in our own columns; raises SchemaError for a row of another layout."""
    shown = layout_of(row)
    kind = shown if reading.layout == "auto" or shown == "prompts" else reading.layout
    reading.saw(kind, row)
    columns = tuple(map(str, row))
    if seen := next((column for column in SEEN if row.get(column)), None):
        raise SchemaError(f"{name}, row {number}, column {seen}: the row is about more than its "
                          "text, which is all that the models read; leave the column out if the "
                          "text says enough")
    try:
        return Cells(own_columns(row, kind, reading.score), name, number, columns=columns)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        why = f"{error}; " if type(error) is ValueError else ""
        raise SchemaError(f"{name}, row {number}: cannot be read as {NAMES[kind]} "
                          f"({why}columns: {', '.join(columns) or 'none'})") from error


def _number_repeated(rows: Sequence[Any]) -> None:
    """Make ids unique: a, a~2, a~3; a file may hold `a~2` itself."""
    seen: dict[str, int] = {}
    for row in rows:
        own = row["id"]
        while row["id"] in seen:
            seen[own] += 1
            row["id"] = f"{own}~{seen[own]}"
        seen[row["id"]] = 1


def sft_row(cells: Cells) -> SftRow:
    """From SmolTalk's schema: messages, source. KTO's desirable completions alone are learned."""
    _refuse_undesirable(cells)
    messages = cells.messages("messages")
    return {"id": cells.identity(messages), "messages": messages, "source": cells.source()}


def preference_row(cells: Cells) -> PreferenceRow:
    """From ultrafeedback_binarized (message lists that start with the prompt), TRL, or strings."""
    if "chosen" not in cells.row and "answers" in cells.row:
        raise cells.error("answers", "is a list of scored answers", "pairs; set "
                          "data.pairs=on_policy to make pairs of the scores")
    if DESIRABLE in cells.row and "chosen" not in cells.row:
        raise SchemaError(f"{cells.name}, row {cells.number}: one labelled completion makes no "
                          "pair; KTO's rows are paired by prompt where each label has one, and not "
                          "in a stream (data.streaming=false)", "unpaired")
    context, chosen = cells.answer("chosen")
    other_context, rejected = cells.answer("rejected")
    if context != other_context:
        raise cells.error("rejected", "answers another prompt than chosen", "the same messages")
    prompt = _before(cells, context)
    return {"id": cells.identity(prompt), "prompt": prompt,
            "chosen": chosen, "rejected": rejected,
            "score_chosen": cells.score("score_chosen"),
            "score_rejected": cells.score("score_rejected"),
            "cut_off_chosen": cells.flag("cut_off_chosen"),
            "cut_off_rejected": cells.flag("cut_off_rejected"), "source": cells.source()}


def _before(cells: Cells, turns: list[Message]) -> list[Message]:
    """The messages before a pair's answer: the turns of its conversation, or the row's prompt.

    A conversation that begins with an answer goes on after the prompt, and a prompt that ends with
    the conversation's turns may begin with a system text that they lack.
    """
    goes_on = bool(turns) and turns[0]["role"] == "assistant"
    if turns and not goes_on and not is_turns(cells.row.get("prompt")):
        return turns
    prompt = cells.prompt_messages()
    if goes_on:
        return [*prompt, *turns]
    return prompt if prompt[-len(turns):] == turns or not turns else turns


def heldout_row(cells: Cells) -> HeldoutRow:
    """From the sample's held-out prompts, or from a preference row: its chosen is the reference."""
    if "chosen" in cells.row:
        cells = replace(cells, row={
            **cells.row, "prompt": _before(cells, cells.answer("chosen")[0])})
    prompt = cells.question()
    if "reference" in cells.row or "chosen" not in cells.row:
        reference = cells.text("reference") if cells.row.get("reference") is not None else None
    else:
        reference = cells.answer("chosen")[1]
    instructions = cells.list_of("instruction_id_list", str)
    arguments = [_without_nulls(entry) for entry in cells.list_of("kwargs", dict)]
    if len(arguments) != len(instructions):
        raise cells.error("kwargs", f"has {len(arguments)} entries",
                          f"one for each of {len(instructions)} instructions")
    return {"id": cells.identity(prompt), "prompt": prompt, "reference": reference,
            "source": cells.source(), "instruction_id_list": instructions, "kwargs": arguments}


def reference_row(cells: Cells) -> Row:
    """Another model's answer: id, its prompt ("" for a row without one), and reference."""
    row, name = cells.row, first_of(cells.row, COMPLETION)
    if row.get("prompt") is None and is_turns(row.get("messages")):
        *asked, last = row["messages"]
        row = {**row, "prompt": asked, "reference": last.get("content")}
    elif name:  # beside it may stand the data set's own reference
        row = {**row, "reference": row[name]}
    cells = replace(cells, row=row)
    prompt = cells.question() if row.get("prompt") is not None else ""
    reference = cells.text("reference")
    return {"id": cells.identity(reference), "prompt": prompt, "reference": reference}


def scored_row(cells: Cells) -> ScoredRow:
    """From the sample's scored answers: id or prompt_id, prompt, source, answers."""
    if "answers" not in cells.row and "chosen" in cells.row:
        raise cells.error("chosen", "is one side of a pair", "a list of scored answers; set "
                          "data.pairs=written to train on pairs")
    prompt = cells.question()
    answers = cells.list_of("answers", dict, required=True)
    return {"id": cells.identity(prompt), "prompt": prompt, "source": cells.source(),
            "answers": [_answer(Cells(answer, cells.name, cells.number, f"answers[{index}]."))
                        for index, answer in enumerate(answers)]}


def _refuse_undesirable(cells: Cells) -> None:
    label = cells.row.get(DESIRABLE, True)
    if label is None:
        shown = next((cells.row[name] for name in LABEL if name in cells.row), None)
        raise cells.error("label", f"is {shown!r}", "true or false, as KTO has it; "
                          "data.format=prompt_completion reads every completion")
    if not label:
        raise SchemaError(f"{cells.name}, row {cells.number}: {UNDESIRABLE}", "undesirable")


def _answer(cells: Cells) -> ScoredAnswer:
    score = cells.score("score")
    if score is None:
        raise cells.error("score", "is missing", "a number from 1 to 10")
    answer: Any = {"text": cells.text("text"), "score": score,
                   "flaws": cells.list_of("flaws", str)}
    optional = ("system", "temperature", "tokens", "selected")
    return answer | {key: cells.row[key] for key in optional if key in cells.row}


def is_cut_off(answer: Record) -> bool:
    """Whether a scored answer has the flaw `cut_off`, or a sampled candidate no end of turn."""
    return CUT_OFF in answer.get("flaws", ()) or answer.get("finish") == "length"


def is_missing(answer: Record) -> bool:
    """Whether a server gave no answer here, which is another thing than an empty one."""
    return answer.get("finish") == MISSING


def prompt_of(row: Record) -> list[Message]:
    """The messages of any row before its first answer, which splits must not share."""
    if "messages" not in row:
        return row["prompt"] if isinstance(row["prompt"], list) else _user(row["prompt"])
    roles = [message["role"] for message in row["messages"]]
    end = roles.index("assistant") if "assistant" in roles else len(roles)
    return row["messages"][:end]


def prompt_text(row: Record) -> str:
    """The prompt of any row as one text without system messages, for comparisons.

    Many rows share a long system message and are no duplicates.
    """
    return "\n\n".join(message["content"] for message in prompt_of(row)
                       if message["role"] != "system")


def _without_nulls(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without nulls, which columnar files add for other instructions' arguments."""
    return {key: value for key, value in arguments.items() if value is not None}


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]
