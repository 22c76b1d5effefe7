"""KTO's rows: a prompt, one completion, and whether it is desirable.

The desirable completions are conversations to learn from. A pair needs one completion of each label
to one prompt; other rows cannot train DPO and are counted.
"""

from collections.abc import Sequence

from lib.data.layouts.reading import Reading
from lib.data.layouts.recognise import label_of, layout_of
from lib.runtime.files import Row, sha256_of_value


def is_unpaired(rows: Sequence[Row], layout: str) -> bool:
    """Whether the rows are KTO's, by their first ones or by the setting."""
    return layout == "kto" or layout == "auto" and bool(rows) and all(
        layout_of(row) == "kto" for row in rows[:20])


def desirable(rows: Sequence[Row], name: str, reading: Reading) -> list[tuple[int, Row]]:
    """(index, row) of the completions to learn from; the others are counted."""
    kept = []
    for index, row in enumerate(rows):
        if label_of(row):
            kept.append((index, row))
        else:
            reading.drop("undesirable", f"{name}, row {index + 1}: labelled undesirable, which no "
                                        "model should learn to write")
    return kept


def paired(rows: Sequence[Row], name: str, reading: Reading) -> list[tuple[int, Row]]:
    """(index, pair) of a desirable and an undesirable completion to one prompt, in turn."""
    sides: dict[str, tuple[list[int], list[int]]] = {}
    for index, row in enumerate(rows):
        label = label_of(row)
        if label is None:
            reading.drop("unusable", f"{name}, row {index + 1}, column label: is "
                                     f"{row.get('label')!r}; expected true or false")
            continue
        sides.setdefault(sha256_of_value(row.get("prompt")), ([], []))[not label].append(index)
    pairs = []
    for good, bad in sides.values():
        pairs += [(first, _pair(rows[first], rows[second]))
                  for first, second in zip(good, bad, strict=False)]
        for index in (good + bad if not good or not bad else
                      good[len(bad):] + bad[len(good):]):
            reading.drop("unpaired", f"{name}, row {index + 1}: no completion with the other "
                                     "label to this prompt, so it makes no pair")
    return sorted(pairs, key=lambda pair: pair[0])


def _pair(good: Row, bad: Row) -> Row:
    kept = {key: value for key, value in good.items() if key not in ("completion", "label",
                                                                     "kto_tag")}
    return kept | {"chosen": good.get("completion"), "rejected": bad.get("completion")}
