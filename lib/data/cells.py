"""One raw row, read column by column, with errors that name the damaged place.

Reading repairs one thing only: NUL and unpaired surrogates, which no tokenizer, Parquet file or web
page can hold, become U+FFFD, the visible replacement character.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from lib.data.chat import MESSAGE_ROLES, Message
from lib.runtime.files import Row, sha256_of_value

UNENCODABLE = re.compile("[\0\ud800-\udfff]")
LARGEST = 1e30  # beyond, a difference of two scores is no number
IDS = ("id", "prompt_id", "question_id", "key", "uid", "uuid", "_id")
CALLS = ("tool_calls", "function_call")  # OpenAI's, beside or instead of an answer's text
TAUGHT = ("weight", "train", "training", "trainable", "loss")  # of a turn: 0 or false, not learned
UNREAD = (*CALLS, "tools", "functions", "documents", "chat_template_kwargs", "reasoning",
          "reasoning_content", "thinking", "thought")  # a template may write them; we read none
SEEN = ("image", "images", "video", "videos", "audio", "audios")  # columns of what is no text
MESSAGE = "a list of {role, content} messages"


class SchemaError(ValueError):
    """A row that does not fit its schema; the text is one sentence, the reason one word."""

    def __init__(self, sentence: str, reason: str = "unusable") -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Cells:
    """The columns of one row; every method raises SchemaError for a wrong column."""

    row: Row
    name: str  # the file or data set, for errors
    number: int  # the row's number from 1, for errors
    within: str = ""  # where in the row, for errors: "answers[2]."
    columns: tuple[str, ...] = ()  # as the file has them, for errors; empty: those of the row

    def error(self, column: str, found: str, expected: str) -> SchemaError:
        """An error with file, row and column, what the column is, and what it should be."""
        return SchemaError(f"{self.name}, row {self.number}, column {self.within}{column}: "
                           f"{found}; expected {expected}")

    def text(self, column: str) -> str:
        """A required text (it may be empty)."""
        return self._clean(column, self._present(column, "text"))

    def score(self, column: str) -> float | None:
        """A number, or None for a missing column, null or NaN: unknown is not zero."""
        value = self.row.get(column)
        if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise self.error(column, f"is {_shown(value)}", "a number or null")
        if not -LARGEST <= value <= LARGEST:
            raise self.error(column, f"is {_shown(value)}", "a finite number or null")
        return float(value)

    def list_of(self, column: str, kind: type, required: bool = False) -> list[Any]:
        """A list with entries of one type; a missing optional column is an empty list."""
        value = self._present(column, "a list") if required else self.row.get(column) or []
        if not isinstance(value, list):
            raise self.error(column, f"is {_shown(value)}", f"a list of {kind.__name__}")
        for index, entry in enumerate(value):
            if not isinstance(entry, kind):
                raise self.error(f"{column}[{index}]", f"is {_shown(entry)}", kind.__name__)
        return value

    def messages(self, column: str) -> list[Message]:
        """A list of messages, with role and content only."""
        messages = self._present(column, MESSAGE)
        if not isinstance(messages, list):
            raise self.error(column, f"is {_shown(messages)}", MESSAGE)
        return [self._message(f"{column}[{index}]", entry) for index, entry in enumerate(messages)]

    def answer(self, column: str) -> tuple[list[Message], str]:
        """(messages before the answer, the answer); a plain text has no messages before it."""
        if isinstance(self._present(column, MESSAGE), str):
            return [], self.text(column)
        messages = self.messages(column)
        if not messages or messages[-1]["role"] != "assistant":
            last = messages[-1]["role"] if messages else "nothing"
            raise self.error(column, f"ends with {last}", "an assistant message at the end")
        return messages[:-1], messages[-1]["content"]

    def prompt_messages(self) -> list[Message]:
        """Column `prompt`, one text or a list, as messages."""
        if isinstance(self._present("prompt", "text or messages"), str):
            return [{"role": "user", "content": self.text("prompt")}]
        return self.messages("prompt")

    def question(self) -> str:
        """Column `prompt` as one text: a system message stands before the user's.

        Raises SchemaError for a prompt of several turns, which has no one text.
        """
        messages = self.prompt_messages()
        roles = [message["role"] for message in messages]
        if roles not in (["user"], ["system", "user"]):
            raise self.error("prompt", f"has turns of {', '.join(roles) or 'nobody'}",
                             "one question, with or without a system message")
        *system, question = [message["content"] for message in messages]
        return "\n\n".join([*filter(None, system), question])

    def flag(self, column: str) -> bool:
        """An optional column of true and false; missing or null: false."""
        value = self.row.get(column)
        if not isinstance(value, bool | None):
            raise self.error(column, f"is {_shown(value)}", "true, false or nothing")
        return bool(value)

    def source(self) -> str:
        """Column `source` if it is a text, otherwise the name of the file or data set."""
        source = self.row.get("source")
        return self.text("source") if source and isinstance(source, str) else (
            PurePath(self.name).name)

    def identity(self, content: object) -> str:
        """The row's own id under one of its usual names, otherwise a hash of the row's content."""
        for value in map(self.row.get, IDS):
            if isinstance(value, float) and value.is_integer():
                value = int(value)  # a column of whole numbers and nulls
            if isinstance(value, str | int | float) and value != "" and value == value:
                return self._clean("id", str(value))
        return sha256_of_value(content)[:16]

    def unread(self) -> set[str]:
        """Names of what stands beside the texts of this row and is not read: thoughts, calls."""
        lists = [self.row.get(name) for name in ("messages", "prompt", "chosen", "rejected")]
        turns = [turn for turns in lists if isinstance(turns, list) for turn in turns]
        answers = self.row.get("answers")
        others = [self.row, *(answers if isinstance(answers, list) else ())]
        return {key for turn in turns if isinstance(turn, dict) for key, value in turn.items()
                if key not in ("role", "content", *TAUGHT) and not _is_empty(value)} | {
            name for other in others if isinstance(other, dict)
            for name in UNREAD if not _is_empty(other.get(name))}

    def _present(self, column: str, expected: str) -> Any:
        if column not in self.row:
            columns = ", ".join(self.columns or map(str, self.row)) or "none"
            raise self.error(column, f"is missing (columns: {columns})", expected)
        return self.row[column]

    def _message(self, column: str, entry: object) -> Message:
        if not isinstance(entry, dict) or entry.get("role") not in MESSAGE_ROLES:
            raise self.error(column, f"is {_shown(entry)}",
                             f"a message with a role of {', '.join(MESSAGE_ROLES)}")
        if called := next((name for name in CALLS if entry.get(name)), None):
            raise self.error(f"{column}.{called}", f"is {_shown(entry[called])}",
                             "a turn of text alone, for the study teaches no calls of tools")
        unlearned = next((name for name in TAUGHT if entry.get(name) in (0, False)), None)
        if entry["role"] == "assistant" and unlearned:
            raise self.error(f"{column}.{unlearned}", f"is {entry[unlearned]}", "answers that may "
                             f"all be learned; leave out the {unlearned}, or the row")
        content = self._clean(f"{column}.content", entry.get("content"))
        return {"role": entry["role"], "content": content}

    def _clean(self, column: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.error(column, f"is {_shown(value)}", "text")
        return UNENCODABLE.sub("\ufffd", value)


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
