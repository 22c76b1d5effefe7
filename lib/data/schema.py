"""The row schemas of the study, and converters from every source's rows.

In: rows of SmolTalk, ultrafeedback_binarized, TRL, or the sample corpus. Out: plain dicts of the
types below, which later stages trust. An error names the file, the row's number (from 1), the
column and its content. `curation` drops well-formed rows that training cannot use.
"""

from collections.abc import Callable, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar

from lib.data.cells import Cells, SchemaError
from lib.data.chat import Message
from lib.runtime.files import Row

Out = TypeVar("Out")


class SftRow(TypedDict):
    """A conversation to learn from; every assistant turn is a response."""

    id: str
    messages: list[Message]
    source: str


MISSING = "missing"  # how a sampled candidate ended that a server did not give
CUT_OFF = "cut_off"  # the flaw of a scored answer that reached the token limit


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
    system: str
    temperature: float
    score: float
    flaws: list[str]
    tokens: NotRequired[int]
    selected: NotRequired[str]


class ScoredRow(TypedDict):
    """A prompt (a text, or its messages) and its scored answers."""

    id: str
    prompt: str | list[Message]
    source: str
    answers: list[ScoredAnswer]


def convert(rows: Sequence[Row], to_row: Callable[[Cells], Out], name: str,
            places: Sequence[int] = ()) -> list[Out]:
    """Convert rows of the file or data set `name`; repeated ids get `~2`, `~3`, ...

    to_row: one of the four functions below. places: the rows' indices in `name`, for errors, if
    they are a choice from it. Raises SchemaError, also without rows.
    """
    if not rows:
        raise SchemaError(f"{name} has no rows; expected at least one")
    places = places or range(len(rows))
    converted = [to_row(Cells(row, name, place + 1))
                 for row, place in zip(rows, places, strict=True)]
    seen: dict[str, int] = {}
    for row in converted:
        count = seen[row["id"]] = seen.get(row["id"], 0) + 1
        if count > 1:
            row["id"] = f"{row['id']}~{count}"
    return converted


def sft_row(cells: Cells) -> SftRow:
    """From SmolTalk's schema: messages, source."""
    messages = cells.messages("messages")
    return {"id": cells.identity(messages), "messages": messages, "source": cells.source()}


def preference_row(cells: Cells) -> PreferenceRow:
    """From ultrafeedback_binarized (message lists that start with the prompt), TRL, or strings."""
    contexts, answers = zip(cells.answer("chosen"), cells.answer("rejected"), strict=True)
    if contexts[0] != contexts[1]:
        raise cells.error("rejected", "answers another prompt than chosen", "the same messages")
    prompt = contexts[0] or cells.prompt_messages()
    return {"id": cells.identity(prompt), "prompt": prompt,
            "chosen": answers[0], "rejected": answers[1],
            "score_chosen": cells.score("score_chosen"),
            "score_rejected": cells.score("score_rejected"),
            "cut_off_chosen": cells.flag("cut_off_chosen"),
            "cut_off_rejected": cells.flag("cut_off_rejected"), "source": cells.source()}


def heldout_row(cells: Cells) -> HeldoutRow:
    """From the sample's held-out prompts, or from a preference row: its chosen is the reference."""
    prompt = cells.text("prompt")
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


def scored_row(cells: Cells) -> ScoredRow:
    """From the sample's scored answers: id or prompt_id, prompt, source, answers."""
    prompt = cells.text("prompt")
    answers = cells.list_of("answers", dict, required=True)
    return {"id": cells.identity(prompt), "prompt": prompt, "source": cells.source(),
            "answers": [_answer(Cells(answer, cells.name, cells.number, f"answers[{index}]."))
                        for index, answer in enumerate(answers)]}


def _answer(cells: Cells) -> ScoredAnswer:
    score = cells.score("score")
    if score is None:
        raise cells.error("score", "is missing", "a number from 1 to 10")
    answer = {"text": cells.text("text"), "score": score, "flaws": cells.list_of("flaws", str)}
    optional = ("system", "temperature", "tokens", "selected")
    return {**answer, **{key: cells.row[key] for key in optional if key in cells.row}}


def is_cut_off(answer: Row) -> bool:
    """Whether a scored answer has the flaw `cut_off`, or a sampled candidate no end of turn."""
    return CUT_OFF in answer.get("flaws", ()) or answer.get("finish") == "length"


def is_missing(answer: Row) -> bool:
    """Whether a server gave no answer here, which is another thing than an empty one."""
    return answer.get("finish") == MISSING


def prompt_of(row: Row) -> list[Message]:
    """The messages of any row before its first answer, which splits must not share."""
    if "messages" not in row:
        return row["prompt"] if isinstance(row["prompt"], list) else _user(row["prompt"])
    roles = [message["role"] for message in row["messages"]]
    end = roles.index("assistant") if "assistant" in roles else len(roles)
    return row["messages"][:end]


def prompt_text(row: Row) -> str:
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
