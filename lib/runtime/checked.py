"""Settings that check themselves: frozen pydantic dataclasses whose errors are one sentence."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

Kind = TypeVar("Kind")
SENTENCES = {
    "greater_than": "it must be above {gt:g}", "greater_than_equal": "use {ge:g} or more",
    "less_than": "it must be below {lt:g}", "less_than_equal": "use {le:g} or less",
    "literal_error": "use {expected}"}
EXPECTED = {"int": "a whole number", "float": "a number", "bool": "true or false",
            "string": "text", "tuple": "a list", "dict": "a mapping"}


@dataclass_transform(frozen_default=True)
def checked(kind: type[Kind]) -> type[Kind]:
    """A frozen dataclass that raises ValueError, one sentence, for a name or value it cannot take.

    Text that is a number is read as one: YAML 1.1 takes 1e-5 for text (it wants 1.0e-5). A class
    may say in REPLACED what to set instead of a name that it has no more.
    """
    made = dataclass(kind, frozen=True, config=ConfigDict(extra="forbid"))
    build: Callable[..., None] = made.__init__

    @wraps(build)
    def init(self: Any, *values: Any, **named: Any) -> None:
        """Build the settings, or raise ValueError."""
        try:
            build(self, *values, **named)
        except ValidationError as error:
            raise ValueError(sentence(error, made)) from None
    made.__init__ = init
    return made


def sentence(error: ValidationError, kind: type) -> str:
    """The first of pydantic's complaints about a `kind`: name, value, what is allowed."""
    first = min(error.errors(), key=lambda one: one["type"] != "unexpected_keyword_argument")
    known, place = [field.name for field in fields(kind)], list(first["loc"])
    if place and isinstance(place[0], int):  # given by position
        place[0] = known[place[0]]
    name, complaint = ".".join(map(str, place)), first["type"]
    if complaint == "value_error":
        return str(first["ctx"]["error"])
    if complaint == "missing":
        return f"{name} is missing"
    if complaint == "unexpected_keyword_argument":
        return unknown(name, kind)
    allowed = (SENTENCES[complaint].format(**first["ctx"]) if complaint in SENTENCES else
               f"expected {EXPECTED.get(complaint.partition('_')[0], first['msg'])}")
    return f"{name} is {first['input']!r}; {allowed}"


def unknown(name: str, kind: type) -> str:
    """The sentence for a name that `kind` does not have."""
    replaced = getattr(kind, "REPLACED", {}).get(name.rpartition(".")[2])
    known = ", ".join(field.name for field in fields(kind))
    return (f"there is no setting {name} any more; {replaced}" if replaced else
            f"unknown setting {name}; known here: {known}")
