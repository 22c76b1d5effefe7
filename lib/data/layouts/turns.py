"""Messages from the ways in which people write a conversation: ShareGPT, transcripts, histories."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from lib.data.chat import Message
from lib.runtime.files import Row

SPEAKERS = {"human": "user", "user": "user", "prompter": "user", "gpt": "assistant",
            "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
            "bard": "assistant", "bot": "assistant", "model": "assistant", "ai": "assistant",
            "system": "system", "developer": "system"}
ROLES = ("human", "user", "gpt", "assistant", "model", "system", "developer")  # under `role` too
WHO = ("from", "role", "speaker")
WHAT = ("value", "content", "text")
# Anthropic's hh-rlhf: "\n\nHuman: ...\n\nAssistant: ..."; OpenAssistant's "### Human: ..."
SPEAKER = "(Human|User|Assistant|System):"
START = re.compile(rf"\s*(?:### )?{SPEAKER}")
HASHED = re.compile(rf"### {SPEAKER}")
SPACED = re.compile(rf"(?:\A\s*|\n\n){SPEAKER}")
LINES = re.compile(rf"(?:\A\s*|\n){SPEAKER}")


def first_of(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of the names that the row has with a value."""
    return next((name for name in names if row.get(name) is not None), None)


def value_of(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of the names; raises KeyError for a row without one."""
    name = first_of(row, names)
    if name is None:
        raise KeyError(names[0])
    return row[name]


def is_turns(value: Any) -> TypeGuard[list[Row]]:
    """Whether a value is a list of turns, ShareGPT's or role and content."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(entry, Mapping) and first_of(entry, WHO) for entry in value)


def messages(value: Any, loose: bool = False) -> Any:
    """A list of turns, also under `messages`, a transcript, or one turn, as messages.

    Other values stay.
    """
    if isinstance(value, Mapping):
        value = value.get("messages", [value])
    if isinstance(value, str):
        return transcript(value, loose) or value
    return [_message(entry) for entry in value] if is_turns(value) else value


def asked(value: Any) -> Any:
    """As `messages`, for a prompt: it ends before the answer that a transcript opens.

    A list of one text, or of one `{content}` (Arena-Hard), is a user's question.
    """
    turns = messages(value)
    opened = isinstance(value, str) and turns != value and turns[-1] == {
        "role": "assistant", "content": ""}
    entry = turns[0] if isinstance(turns, list) and len(turns) == 1 else None
    text = entry.get("content") if isinstance(entry, Mapping) and "role" not in entry else entry
    if isinstance(text, str):
        return [{"role": "user", "content": text}]
    return turns[:-1] if opened else turns


def transcript(text: Any, loose: bool = False) -> list[Message]:
    """The turns of a transcript that starts with one; otherwise none.

    loose: also without hh-rlhf's empty line before its first speaker; a prompt or an answer that
    begins so may be a dialogue that someone asked for.

    Speakers stand after `###`, an empty line, or (if none does) at the beginning of a line: a text
    of one style may quote the others. One turn alone counts in hh-rlhf's own style.
    """
    if not isinstance(text, str) or not START.match(text):
        return []
    if not loose and not text.startswith("\n\n") and not text.lstrip().startswith("#"):
        return []
    parts = HASHED.split(text)
    if parts[0].strip() or len(parts) < 3:
        parts = SPACED.split(text)
    own = text.startswith("\n\n") and len(parts) == 3
    if len(parts) < 5 and not own:
        parts = LINES.split(text)
    if parts[0].strip() or len(parts) < 5 and not own:
        return []
    return [{"role": SPEAKERS[name.lower()], "content": said.strip()}
            for name, said in zip(parts[1::2], parts[2::2], strict=True)]


def _message(entry: Any) -> Any:
    """A turn as role and content; an entry that is none stays for the schema to name."""
    who, what = first_of(entry, WHO), first_of(entry, WHAT)
    if who is None or what is None:
        return entry
    name, content = entry[who], entry[what]
    word = name.strip().lower() if isinstance(name, str) else ""
    if who != "role" or word in ROLES:
        name = SPEAKERS.get(word, name)
    beside = {key: value for key, value in entry.items()
              if key not in (who, what) and value is not None}  # for the schema, which names it
    return {**beside, "role": name, "content": _plain(content)}


def _plain(content: Any) -> Any:
    """OpenAI's list of text parts as one text; anything but text in it stays."""
    if isinstance(content, list) and content and all(
            isinstance(part, Mapping) and part.get("type") == "text"
            and isinstance(part.get("text"), str) for part in content):
        return "\n".join(part["text"] for part in content)
    return content
