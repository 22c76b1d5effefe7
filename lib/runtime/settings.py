"""Settings as frozen dataclasses that pydantic checks; an error is one sentence.

The sentence names a field's bounds, which stand in its `Field(1, ge=1)`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

Settings = TypeVar("Settings")
Schema = Mapping[str, Any]
TYPES = {"number": "a number", "integer": "a whole number", "boolean": "true or false",
         "string": "text"}


@dataclass_transform(frozen_default=True)  # `Field(1, ge=1)` is a default as any other
def checked(kind: type[Settings]) -> type[Settings]:
    """Make a frozen dataclass whose constructor raises a ValueError of one sentence.

    `dataclasses.asdict` and `replace` work on it.
    """
    made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))(kind)
    fill = made.__init__

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            fill(self, *values, **named)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(_sentence(first, TypeAdapter(made).json_schema())) from None
    made.__init__ = __init__
    return made


def build(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A settings object from plain values, sections as mappings; absent fields have defaults.

    Raises ValueError for the first value that cannot be used, with its dotted key and what is
    allowed.
    """
    adapter = TypeAdapter(kind)
    try:  # as JSON, where a list may stand for a tuple, but no text or boolean for a number
        return adapter.validate_json(json.dumps(values, default=str), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
    raise ValueError(_sentence(first, adapter.json_schema()))


def _sentence(error: Mapping[str, Any], schema: Schema) -> str:
    keys = [part for part in error["loc"] if isinstance(part, str)]
    dotted = ".".join(keys)
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown setting {dotted}; {_hint(dotted, list(_keys(schema)))}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return message if not dotted or message.startswith(dotted) else f"{dotted}: {message}"
    field = field_of(schema, keys)
    if "properties" in field:
        return (f"{dotted} is {error['input']!r}; it is a section, set for example "
                f"{dotted}.{next(iter(field['properties']))}")
    meaning = f" ({field['description']})" if "description" in field else ""
    return f"{dotted} is {error['input']!r}; use {_allowed(field)}{meaning}"


def field_of(schema: Schema, keys: list[str]) -> Schema:
    """The JSON schema of one field, references followed; raises KeyError for an unknown one."""
    place = schema
    for key in keys:
        place = place["properties"][key]
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
    return place


def _keys(schema: Schema, keys: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted keys of all fields and sections."""
    for key in field_of(schema, list(keys)).get("properties", ()):
        yield ".".join((*keys, key))
        yield from _keys(schema, (*keys, key))


def _hint(dotted: str, known: list[str]) -> str:
    """The known keys most similar to an unknown one, first those with the same last part."""
    def likeness(key: str) -> float:
        return difflib.SequenceMatcher(None, dotted, key).ratio()

    last = dotted.rpartition(".")[2]
    close = ([key for key in known if key.rpartition(".")[2] == last]
             or difflib.get_close_matches(dotted, known)
             or [key for key in known if difflib.get_close_matches(last, [key.rpartition(".")[2]])])
    if not close:
        return f"known here: {', '.join(key for key in known if '.' not in key)}"
    best = max(map(likeness, close))
    return f"did you mean {' or '.join(key for key in close if likeness(key) == best)}?"


def _allowed(field: Schema) -> str:
    """The values that a field allows, in words."""
    if "anyOf" in field:
        return ", or ".join(_allowed(kind) for kind in field["anyOf"])
    if "enum" in field:
        return f"one of {', '.join(map(str, field['enum']))}"
    if field.get("type") == "array":
        return f"a list of one or more, each {_allowed(field['items'])}"
    words = TYPES.get(field.get("type", ""), "null")
    bounds = [text.format(field[key]) for key, text in (
        ("minimum", "of at least {:g}"), ("exclusiveMinimum", "above {:g}"),
        ("maximum", "at most {:g}"), ("exclusiveMaximum", "below {:g}")) if key in field]
    return " ".join(filter(None, (words, " and ".join(bounds))))
