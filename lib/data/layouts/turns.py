"""Messages from the ways in which people write a conversation: ShareGPT, transcripts, histories."""

import re
from collections.abc import Mapping
from typing import Any

from lib.data.chat import Message

SPEAKERS = {"human": "user", "user": "user", "prompter": "user", "gpt": "assistant",
            "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
            "bard": "assistant", "bot": "assistant", "model": "assistant", "system": "system"}
WHO = ("from", "role", "speaker")
WHAT = ("value", "content", "text")
# Anthropic's hh-rlhf: "\n\nHuman: ...\n\nAssistant: ..."; OpenAssistant's "### Human: ..."
TURN = re.compile(r"(?:^|\n\n?)\s*(?:### )?(Human|Assistant|System):[ \t]*\n?", re.MULTILINE)


def message(entry: Any) -> Any:
    """A turn as role and content; an entry that is none stays for the schema to name."""
    if not isinstance(entry, Mapping):
        return entry
    who, what = first_of(entry, WHO), first_of(entry, WHAT)
    if who is None or what is None:
        return entry
    name = entry[who]
    if who != "role" and isinstance(name, str):
        name = SPEAKERS.get(name.strip().lower(), name)
    return {"role": name, "content": _plain(entry[what])}


def messages(value: Any) -> Any:
    """A list of turns, a transcript, or one turn, as messages; other values stay."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str):
        return transcript(value) or value
    return [message(entry) for entry in value] if is_turns(value) else value


def is_turns(value: Any) -> bool:
    """Whether a value is a list of turns, ShareGPT's or role and content."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(entry, Mapping) and first_of(entry, WHO) for entry in value)


def transcript(text: Any) -> list[Message]:
    """The turns of a transcript that starts with one; otherwise none."""
    parts = TURN.split(text) if isinstance(text, str) else []
    if len(parts) < 3 or parts[0].strip():
        return []
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": SPEAKERS[name.lower()], "content": said.strip()} for name, said in turns]


def first_of(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the names that the row has with a value."""
    return next((name for name in names if row.get(name) is not None), None)


def _plain(content: Any) -> Any:
    """OpenAI's list of text parts as one text; anything but text in it stays."""
    if isinstance(content, list) and content and all(
            isinstance(part, Mapping) and part.get("type") == "text"
            and isinstance(part.get("text"), str) for part in content):
        return "\n".join(part["text"] for part in content)
    return content
