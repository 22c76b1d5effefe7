"""Rows of a Hugging Face dataset at a pinned revision, or one sentence that says why not.

The `datasets` library does the work, its cache and `HF_HUB_OFFLINE` included; a folder of data
files in place of a repository's name goes the same way.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lib.runtime.progress import say

if TYPE_CHECKING:
    from datasets import Dataset


class HubError(RuntimeError):
    """A dataset that could not be loaded, said in one sentence."""


def open_hub(path: str, config: str, split: str, revision: str) -> "Dataset":
    """One split of a dataset, downloaded or from the cache; prints its size and revision.

    path: repository id, or a local folder; config and revision: "" for the only or newest one.
    Raises HubError when the hub cannot be reached or does not have what was asked for.
    """
    dataset = _load(path, config, split, revision)
    say(f"{path}, {split}: {len(dataset):,} rows, {_revision_used(dataset, path, revision)}")
    return dataset


def _load(path: str, config: str, split: str, revision: str) -> "Dataset":
    import datasets  # takes seconds to import, and most runs need no hub
    try:
        return datasets.load_dataset(
            path, name=config or None, split=split, revision=revision or None)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise HubError(f"{path} cannot be had from the hub: {_first_line(error)} If it is gated, "
                       "accept its terms and log in with `hf auth login`") from error
    except ValueError as error:  # how datasets reports an unknown configuration or split
        raise HubError(f"{path} has no config {config or 'default'!r} with split {split!r}: "
                       f"{_first_line(error)}") from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        raise HubError(f"{path} cannot be loaded ({_first_line(error)}); connect to the network "
                       "and unset HF_HUB_OFFLINE, or use data.source=sample") from error


def _revision_used(dataset: "Dataset", path: str, revision: str) -> str:
    """What was read, for the log: the commit that the library resolved, or the local folder."""
    if Path(path).exists():
        return "from a local folder"
    commits = {match[1] for url in dataset.info.download_checksums or {}
               if (match := re.search(r"@([0-9a-f]{40})/", url))}
    if revision:
        return f"revision {revision}"
    return f"newest revision ({', '.join(sorted(commits)) or 'unknown'}); pin it to repeat this run"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
