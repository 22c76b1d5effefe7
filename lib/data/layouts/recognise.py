"""Which layout a row has, by its columns, and the names that people give to a column."""

from collections.abc import Callable
from typing import Any, Literal

from lib.data.layouts.turns import first_of, is_turns, transcript
from lib.runtime.files import Row

Format = Literal["auto", "messages", "sharegpt", "alpaca", "hh", "kto", "prompt_completion",
                 "pairs", "answers", "prompts"]
NAMES = {"messages": "messages", "sharegpt": "ShareGPT", "alpaca": "Alpaca", "hh": "hh-rlhf",
         "kto": "KTO (unpaired)", "prompt_completion": "prompt and completion", "pairs": "pairs",
         "answers": "scored answers", "prompts": "prompts", "auto": "unknown columns"}
CONVERSATION = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
TRANSCRIPT = ("text", "transcript")
# Instruction first: a prompt beside it is the whole in Alpaca's frame, at times with the answer.
PROMPT = ("instruction", "prompt", "question", "query", "input", "problem")
COMPLETION = ("completion", "response", "output", "answer", "solution")
SIDES = (("chosen", "rejected"), ("chosen_response", "rejected_response"),
         ("response_chosen", "response_rejected"), ("response_j", "response_k"),
         ("preferred_output", "non_preferred_output"))
ANSWERS = ("answers", "completions", "responses", "candidates", "generations")
DESIRABLE = "kto_desirable"  # our column of KTO's label
LABEL = ("kto_tag", "label")
LABELS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False,
          "-1": False, "-1.0": False, "desirable": True, "undesirable": False,
          "good": True, "bad": False, "chosen": True, "rejected": False, "yes": True, "no": False}


def layout_of(row: Row) -> Format:
    """The layout that a row's columns and values show; `auto` for none that is known."""
    shown: Format = next((name for name, shows in RULES.items() if shows(row)), "auto")
    return "kto" if DESIRABLE in row or shown in ANSWERED and _has_label(row) else shown


def unlabelled_layout(row: Row) -> Format:
    """The layout of one of KTO's rows but for its label."""
    return layout_of({name: value for name, value in row.items()
                      if name not in (*LABEL, DESIRABLE)})


def label_of(row: Row) -> bool | None:
    """KTO's label: whether the completion is desirable; None without one."""
    name = first_of(row, LABEL)
    return LABELS.get(str(row[name]).strip().lower()) if name else None


def sides_of(row: Row) -> tuple[str, str] | None:
    """The columns of a pair's better and worse answer."""
    return next((sides for sides in SIDES if all(side in row for side in sides)
                 and first_of(row, sides)), None)


def _has_label(row: Row) -> bool:
    """A readable label beside an answer, or the very columns of KTO, whatever they hold."""
    return label_of(row) is not None or any(name in row for name in LABEL) and all(
        name in row for name in ("prompt", "completion"))


def _is_sharegpt(row: Row) -> bool:
    values = [row.get(name) for name in ("messages", *(sides_of(row) or ()))]
    found = [turn for value in values for turn in (value if is_turns(value) else [value])]
    name = first_of(row, CONVERSATION[1:])
    other = row[name] if name else None
    return isinstance(other, list) or bool(transcript(other, loose=True)) or any(
        isinstance(turn, dict) and "from" in turn for turn in found)


def _has_answers(row: Row) -> bool:
    listed = (row.get(name) for name in ANSWERS)
    return first_of(row, PROMPT) is not None and any(
        isinstance(value, list) and value and isinstance(value[0], dict | str) for value in listed)


def _is_hh(row: Row) -> bool:
    sides = sides_of(row)
    loose = not sides or first_of(row, PROMPT) is None
    return any(transcript(row.get(name), loose) for name in sides or TRANSCRIPT)


RULES: dict[Format, Callable[[Row], Any]] = {
    "sharegpt": _is_sharegpt,
    "messages": lambda row: row.get("messages") is not None and not sides_of(row),
    "hh": _is_hh,
    "pairs": sides_of,
    "answers": _has_answers,
    "alpaca": lambda row: row.get("instruction") is not None,
    "prompt_completion": lambda row: first_of(row, PROMPT) and first_of(row, COMPLETION),
    "prompts": lambda row: first_of(row, PROMPT)}
ANSWERED = ("sharegpt", "messages", "hh", "alpaca", "prompt_completion")
