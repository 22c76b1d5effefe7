"""Features of answers on disk, so that the backbone reads no text twice.

One folder holds the features of one backbone, layer and pooling, in part files of a few hundred
answers: `keys` (SHA-256 of the conversation) and `values` [answers, width]. A killed run keeps its
finished parts; a damaged part is renamed and its answers are computed again. The store also reads
shipped features of the sample corpus (data/features, a byte a number).
"""

import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from lib import ROOT
from lib.inference.rewards import Conversation, deciding
from lib.runtime.files import atomic_write, sha256_of_value
from lib.runtime.progress import say

SHIPPED = ROOT / "data" / "features"
ANSWERS_A_FILE = 2000  # shipped ones, about 1.1 MB
Features = dict[str, np.ndarray]


def conversation_key(conversation: Conversation) -> str:
    """SHA-256 of all messages, in hex: roles, contents, and that an answer was cut off."""
    return sha256_of_value(deciding(conversation))


class FeatureStore:
    """Features by conversation key; only in memory when `folder` is None."""

    def __init__(self, folder: Path | str | None, backbone: str, pooling: str, layer: int) -> None:
        name = f"{backbone}-{pooling}-{layer}"
        self.folder = Path(folder) / name if folder else None
        self.features: Features = {}
        for place in (self.folder, SHIPPED / name):
            for part in sorted(place.glob("*.npz")) if place else ():
                self.features |= _read_part(part)

    def add(self, new: Mapping[str, np.ndarray]) -> None:
        """Add features and write them as one part file, whose name is a hash of their keys."""
        self.features |= new
        if not self.folder or not new:
            return
        keys = sorted(new)
        name = sha256("".join(keys).encode()).hexdigest()[:24]
        with atomic_write(self.folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, keys=np.array(keys, dtype="S64"),
                     values=np.stack([new[key] for key in keys]).astype(np.float32))


def _read_part(part: Path) -> Features:
    try:
        with np.load(part) as arrays:
            keys, values = arrays["keys"].astype(str), arrays["values"].astype(np.float32)
            if "step" in arrays:  # shipped ones count steps above the lowest value of each feature
                values = values * arrays["step"] + arrays["lowest"]
        return dict(zip(keys, values, strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        part.rename(part.with_suffix(".damaged"))
        say(f"{part} is damaged ({error}); renamed to .damaged, its answers are computed again")
        return {}


def ship_features(store: FeatureStore, conversations: Sequence[Conversation],
                  name: str) -> list[Path]:
    """Write these conversations' features, once each, to data/features as `<name>-<number>.npz`.

    Every feature is rounded to one of 256 steps between its lowest and highest value, about 0.03
    deviations each. Returns the files; raises ValueError for a store without a folder.
    """
    if store.folder is None:
        raise ValueError("features are shipped from a cache folder; name one (--cache)")
    keys = sorted(set(map(conversation_key, conversations)) & store.features.keys())
    values = np.stack([store.features[key] for key in keys])
    lowest = values.min(0)
    step = np.maximum((values.max(0) - lowest) / 255, np.finfo(np.float32).tiny)
    steps, files = np.rint((values - lowest) / step).astype(np.uint8), []
    for number, begin in enumerate(range(0, len(keys), ANSWERS_A_FILE), start=1):
        part = slice(begin, begin + ANSWERS_A_FILE)
        files.append(SHIPPED / store.folder.name / f"{name}-{number}.npz")
        with atomic_write(files[-1]) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, keys=np.array(keys[part], dtype="S64"), lowest=lowest,
                                step=step, values=steps[part])
    return files
