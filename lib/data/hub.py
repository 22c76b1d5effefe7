"""Rows of a Hugging Face dataset at a pinned revision, or one sentence that says why not.

The `datasets` library caches, resumes downloads and obeys `HF_HUB_OFFLINE`; it also reads a folder
of data files. A data set that does not fit on the disk is read as a stream, of which a seeded
choice of rows is kept.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lib.runtime.files import FileError, Row, sha256_of_value
from lib.runtime.places import is_path
from lib.runtime.progress import say

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


class HubError(RuntimeError):
    """A dataset that cannot be loaded; the text is one sentence."""


@dataclass(frozen=True)
class Place:
    """One split of a dataset: repository id or local folder; "" for the only or newest one."""

    path: str
    config: str
    split: str
    revision: str


def refuse_path(place: Place) -> None:
    """Raise FileError for a place that is a path and no folder: a hub has no such data set."""
    path = Path(place.path).expanduser()
    if path.is_file():
        raise FileError(f"{place.path} is a file, and data.source is hub; set data.source=local")
    if is_path(place.path) and not path.exists():
        raise FileError(f"{place.path} does not exist, and is no data set's id on a hub "
                        "(owner/name); check the path, and set data.source=local for your own "
                        "files")


def open_hub(place: Place) -> "Dataset":
    """Download a split, or read it from the cache; prints its size and revision.

    Raises HubError if the hub does not answer or does not have the split.
    """
    dataset = _load(place, streaming=False)
    say(f"{place.path}, {place.split}: {len(dataset):,} rows, {_revision_used(dataset, place)}")
    return dataset


def first_rows(place: Place, count: int) -> list[Row]:
    """The first rows of a split, without downloading the others; from the cache if offline.

    Raises HubError, also for a split without rows.
    """
    import datasets
    stream = _load(place, streaming=not datasets.config.HF_HUB_OFFLINE)
    rows = list(islice(_rows_of(stream, place), count))
    if not rows:
        raise HubError(f"{place.path} has no rows in split {place.split!r}; expected at least one")
    return rows


def stream_choice(place: Place, rows: int, seed: str, rank: int = 0,
                  count: int = 1) -> list[tuple[str, Row]]:
    """A seeded random choice of a stream's rows, with their keys, smallest key first.

    A row's key is the hash of seed and row, and the smallest keys win: only `rows` rows are in
    memory, and any number of processes makes the same choice. rank, count: each of several
    processes reads its shards; `merge_choices` joins their choices. Raises HubError.
    """
    from datasets.distributed import split_dataset_by_node
    stream = split_dataset_by_node(_load(place, streaming=True), rank, count)
    keyed = ((sha256_of_value([seed, row]), row) for row in _rows_of(stream, place))
    return heapq.nsmallest(rows, keyed, key=lambda pair: pair[0])


def merge_choices(choices: list[list[tuple[str, Row]]], rows: int) -> list[tuple[str, Row]]:
    """The choice of all processes from the choices of each."""
    return heapq.nsmallest(rows, (pair for choice in choices for pair in choice),
                           key=lambda pair: pair[0])


def _rows_of(stream: "IterableDataset", place: Place) -> Iterator[Row]:
    """The stream's rows; a lost connection raises HubError."""
    try:
        yield from stream
    except (OSError, ValueError) as error:
        raise HubError(f"{place.path} cannot be read to its end ({_first_line(error)}); start "
                       "again, or set data.streaming=false to download it once") from error


def _load(place: Place, streaming: bool) -> "Dataset | IterableDataset":
    import datasets  # takes seconds to import, and most runs need no hub
    refuse_path(place)
    path, config, split, revision = place.path, place.config, place.split, place.revision
    try:
        return datasets.load_dataset(path, name=config or None, split=split,
                                     revision=revision or None, streaming=streaming)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise HubError(f"{path} cannot be had from the hub: {_first_line(error)} If it is gated, "
                       "accept its terms and log in with `hf auth login`") from error
    except ValueError as error:  # how datasets reports an unknown configuration or split
        raise HubError(f"{path} has no config {config or 'default'!r} with split {split!r}: "
                       f"{_first_line(error)}") from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise HubError(f"{path} cannot be loaded ({_first_line(error)}); connect to the network "
                       "and unset HF_HUB_OFFLINE, or use data.source=sample") from error


def _revision_used(dataset: "Dataset", place: Place) -> str:
    """The origin of the rows for the log: the resolved commit, or a local folder."""
    if Path(place.path).exists():
        return "from a local folder"
    commits = {match[1] for url in dataset.info.download_checksums or {}
               if (match := re.search(r"@([0-9a-f]{40})/", url))}
    if place.revision:
        return f"revision {place.revision}"
    return f"newest revision ({', '.join(sorted(commits)) or 'unknown'}); pin it to repeat this run"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
