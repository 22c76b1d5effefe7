"""KTO's rows: a prompt, one completion, and whether it is desirable.

The desirable completions are conversations to learn from. A pair needs one completion of each label
to one prompt; other rows cannot train DPO and are counted.
"""

import json
from collections.abc import Sequence
from typing import Any

from lib.data.cells import SEEN
from lib.data.layouts.columns import own_columns
from lib.data.layouts.reading import Reading
from lib.data.layouts.recognise import DESIRABLE, LABEL, label_of, layout_of
from lib.runtime.files import Row

Numbered = list[tuple[int, Row]]  # index in the file, row
Half = tuple[int, Row, Any, Any]  # and its prompt and completion
UNDESIRABLE = "labelled undesirable, which no model should learn to write"


def is_unpaired(row: Row, layout: str) -> bool:
    """Whether a row is one of KTO's, by its columns or by the setting."""
    return layout == "kto" or layout == "auto" and any(name in row for name in LABEL) and (
        layout_of(row) == "kto")


def without_undesirable(rows: Numbered, name: str, reading: Reading) -> Numbered:
    """The rows but for KTO's undesirable completions, which are counted."""
    kept = []
    for index, row in rows:
        if is_unpaired(row, reading.layout) and label_of(row) is False:
            reading.drop("undesirable", f"{name}, row {index + 1}: {UNDESIRABLE}")
        else:
            kept.append((index, row))
    return kept


def paired(rows: Numbered, name: str, reading: Reading) -> Numbered:
    """The rows with pairs in place of KTO's: a completion of each label to one prompt, in turn."""
    kept: Numbered = []
    sides: dict[str, tuple[list[Half], list[Half]]] = {}  # completions of each label, by prompt
    for index, row in rows:
        if not is_unpaired(row, reading.layout) or label_of(row) is None:
            kept.append((index, row))  # the schema names a label that cannot be read
            continue
        try:
            prompt, completion = _split(row)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            reading.drop("unusable", f"{name}, row {index + 1}: has no prompt with a completion")
            continue
        both = sides.setdefault(_key(prompt), ([], []))
        both[not label_of(row)].append((index, row, prompt, completion))
    for good, bad in sides.values():
        kept += [(first[0], _pair(*first[1:], second[-1]))
                 for first, second in zip(good, bad, strict=False)]
        reading.joined += min(len(good), len(bad))
        for index, *_ in _rest(good, bad):
            reading.drop("unpaired", f"{name}, row {index + 1}: no completion with the other "
                                     "label to this prompt, so it makes no pair")
    return sorted(kept, key=lambda pair: pair[0])


def _split(row: Row) -> tuple[Any, Any]:
    """A row's prompt as messages, and its completion as one."""
    *prompt, last = own_columns(row, "kto")["messages"]
    if last["role"] != "assistant" or not prompt:
        raise ValueError("no answer to a prompt")
    return prompt, [last]


def _key(prompt: Sequence[Row]) -> str:
    """What makes a prompt: who says what in it, whatever else its turns hold (an id, a time)."""
    return json.dumps([[turn.get("role"), turn.get("content")] for turn in prompt], default=str)


def _pair(good: Row, prompt: Any, chosen: Any, rejected: Any) -> Row:
    kept = {key: good[key] for key in ("id", "prompt_id", "source", *SEEN) if key in good}
    return kept | {"prompt": prompt, "chosen": chosen, "rejected": rejected, DESIRABLE: True}


def _rest(good: Sequence[Any], bad: Sequence[Any]) -> Sequence[Any]:
    return good[len(bad):] or bad[len(good):]
