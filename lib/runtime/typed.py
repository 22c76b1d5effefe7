"""Values that take the type of their setting: YAML, command lines and papermill only guess it.

YAML 1.1 reads `1e-6` as text, `no` as false, `010` as 8 and a commit of digits as a number. Here a
scalar keeps its text until the setting's type is known; quoted text stays text, but for numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lib.runtime.settings import Schema, field_of

NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
FLAGS = {"true": True, "yes": True, "on": True, "1": True,
         "false": False, "no": False, "off": False, "0": False, "": False, "none": False}


@dataclass(frozen=True)
class Scalar:
    """An unquoted scalar of a YAML text: as written, and as YAML 1.1 reads it."""

    text: str
    value: Any


class _Loader(yaml.SafeLoader):
    """YAML whose numbers, dates and booleans keep their text."""


def _scalar(tag: str) -> Any:
    read = yaml.SafeLoader.yaml_constructors[tag]

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Scalar:
        """The scalar's text, and the value that YAML 1.1 reads, or its text again."""
        try:
            return Scalar(node.value, read(loader, node))
        except ValueError:  # a date such as 2026-13-45
            return Scalar(node.value, node.value)
    return construct


for _tag in ("int", "float", "bool", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _scalar(f"tag:yaml.org,2002:{_tag}"))


def load_yaml(text: str) -> Any:
    """A YAML text, its scalars as `Scalar` until `typed` decides; raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


def typed(value: Any, schema: Schema, keys: tuple[str, ...] = ()) -> Any:
    """The value of setting `keys`, and what is in it, with the types that the JSON schema wants.

    Values of unknown settings and values of another type stay as YAML reads them.
    """
    if isinstance(value, Mapping):
        return {_text(key): typed(item, schema, (*keys, *_text(key).split(".")))
                for key, item in value.items()}
    kinds = _kinds(schema, keys)
    if isinstance(value, list | tuple):
        return [_as(item, kinds) for item in value]
    return _as(value, kinds)


def flag(value: Any, name: str) -> bool:
    """True or false, which papermill's `-p` hands over as text.

    Raises ValueError for another word.
    """
    word = str(value).strip().lower()
    if word not in FLAGS:
        raise ValueError(f"{name} is {value!r}; use true or false")
    return FLAGS[word]


def _as(value: Any, kinds: set[str]) -> Any:
    """One scalar in the first type that the setting allows and the text can be."""
    if isinstance(value, Mapping | list):
        return typed(value, {"properties": {}})
    plain = isinstance(value, Scalar)
    text, known = (value.text, value.value) if plain else (value, value)
    if "string" in kinds and not kinds & {"number", "integer"}:
        return text if plain else str(value) if _is_whole(value) else value
    if isinstance(text, str) and NUMBER.fullmatch(text.strip()) and (
            kinds & {"number", "integer"} or not kinds):
        return _number(text.strip()) if plain or kinds else known
    if "boolean" in kinds and isinstance(text, str) and text.strip().lower() in FLAGS:
        return FLAGS[text.strip().lower()]
    sixties = plain and ":" in text  # YAML 1.1 reads 1:30 as 90
    return text if sixties or plain and not isinstance(known, bool | int | float) else known


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _text(key: Any) -> str:
    return key.text if isinstance(key, Scalar) else str(key)


def _kinds(schema: Schema, keys: tuple[str, ...]) -> set[str]:
    """JSON's names of the types that a setting, or the entries of its list, may have."""
    try:
        field = field_of(schema, list(keys))
    except KeyError:
        return set()
    options = [field, *field.get("anyOf", ())]
    options += [option["items"] for option in options if "items" in option]
    return {option["type"] for option in options if "type" in option} | {
        "string" for option in options for entry in option.get("enum", ())
        if isinstance(entry, str)}
