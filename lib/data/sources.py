"""The study's rows from three sources in one schema: the sample, the hub, your own files.

`DataSettings` says which; an empty path means the sample's file, so that one part (say, the
preferences) can come from elsewhere. One process or several (`Reader`) read a stream of a hub's
data set that does not fit on the disk.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from lib import ROOT
from lib.data import schema
from lib.data.cells import Cells
from lib.data.formats import files_of, read_rows
from lib.data.hub import Place, first_row, open_hub, stream_choice
from lib.data.on_policy import pairs_from_scored
from lib.data.schema import HeldoutRow, PreferenceRow, ScoredRow, SftRow, convert
from lib.data.settings import DataSettings
from lib.runtime.files import Row, sha256_of, sha256_of_value, shown
from lib.runtime.progress import say

Out = TypeVar("Out")
Part = Literal["sft", "preferences", "heldout"]
Keyed = list[tuple[str, Row]]
Reader = Callable[[Place, int, str], Keyed]  # as `lib.data.hub.stream_choice` for one process
SAMPLE = ROOT / "data" / "sample"


def load_sft(settings: DataSettings, seed: int, read: Reader = stream_choice) -> list[SftRow]:
    """Conversations for fine-tuning: a seeded choice of `sft_rows`.

    Raises FileError, HubError or SchemaError.
    """
    return _load(settings, "sft", schema.sft_row, settings.sft_rows, f"{seed}/sft", read)


def load_preferences(settings: DataSettings, seed: int,
                     read: Reader = stream_choice) -> list[PreferenceRow]:
    """Pairs for DPO, from scored answers (on_policy) or as written: a seeded choice.

    self_generated takes the written pairs, for their prompts.

    Raises FileError, HubError or SchemaError.
    """
    rows, seed_text = settings.preference_rows, f"{seed}/preferences"
    if settings.pairs != "on_policy":
        return _load(settings, "preferences", schema.preference_row, rows, seed_text, read)
    scored = _load(settings, "preferences", schema.scored_row, None, seed_text)
    pairs = pairs_from_scored(scored, settings.min_gap, settings.pairs_per_prompt)
    return [pairs[index] for index in _choose(len(pairs), rows, seed_text)]


def load_heldout(settings: DataSettings) -> list[HeldoutRow]:
    """All prompts for evaluation; `splits.held_out_subset` takes fewer.

    Raises FileError, HubError or SchemaError.
    """
    return _load(settings, "heldout", schema.heldout_row, None, "heldout")


def load_scored(name: Literal["on_policy", "judged", "audit"]) -> list[ScoredRow]:
    """Scored answers of the sample: for pairs and the selector, for the judge, for the audit."""
    path = SAMPLE / f"{name}.jsonl"
    return convert(read_rows(path), schema.scored_row, shown(path))


def source_hashes(settings: DataSettings) -> dict[str, str]:
    """SHA-256 of each part's files, or of a hub data set's pinned name.

    Raises FileError for a missing path.
    """
    return {part: sha256_of_value(_place(settings, part) if _on_hub(settings, part) else
                                  [sha256_of(file) for file in files_of(_path(settings, part))])
            for part in get_args(Part)}


def check_sources(settings: DataSettings) -> None:
    """Read the first row of each part, before any work.

    Raises FileError, HubError or SchemaError.
    """
    pairs = schema.scored_row if settings.pairs == "on_policy" else schema.preference_row
    checks: dict[Part, Callable[[Cells], Any]] = {
        "sft": schema.sft_row, "heldout": schema.heldout_row, "preferences": pairs}
    for part, to_row in checks.items():
        path = getattr(settings, f"{part}_path")
        if _on_hub(settings, part):
            convert([first_row(_place(settings, part))], to_row, path)
        elif settings.source == "local" and path:
            convert(read_rows(path)[:1], to_row, path)


def _place(settings: DataSettings, part: Part) -> Place:
    return Place(*(getattr(settings, f"{part}_{key}")
                   for key in ("path", "config", "split", "revision")))


def _on_hub(settings: DataSettings, part: Part) -> bool:
    return settings.source == "hub" and bool(getattr(settings, f"{part}_path"))


def _path(settings: DataSettings, part: Part) -> Path:
    """The local file or folder of a part, by default the sample's."""
    path = getattr(settings, f"{part}_path")
    if settings.source == "sample" or not path:
        return SAMPLE / f"{_sample_file(settings, part)}.jsonl"
    return Path(path).expanduser()


def _load(settings: DataSettings, part: Part, to_row: Callable[[Cells], Out], rows: int | None,
          seed: str, read: Reader = stream_choice) -> list[Out]:
    if not _on_hub(settings, part):
        path = _path(settings, part)
        raw = read_rows(path)
        chosen = _choose(len(raw), rows, seed)
        return convert([raw[index] for index in chosen], to_row, shown(path), chosen)
    place = _place(settings, part)
    if settings.streaming and rows is not None:
        return convert([row for _, row in read(place, rows, seed)], to_row, place.path)
    dataset = open_hub(place)
    chosen = _choose(len(dataset), rows, seed)
    return convert(dataset.select(chosen).to_list(), to_row, place.path, chosen)


def _sample_file(settings: DataSettings, part: Part) -> str:
    return "on_policy" if part == "preferences" and settings.pairs == "on_policy" else part


def _choose(count: int, rows: int | None, seed: str) -> list[int]:
    """Sorted indices of a seeded random choice without replacement."""
    if rows is None or rows == count:
        return list(range(count))
    if rows > count:
        say(f"{rows:,} rows are set and {count:,} are there; all are taken")
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), rows))
