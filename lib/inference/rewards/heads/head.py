"""A reward head: one weight a feature, fitted on pairs of answers to the same prompt.

Features are standardised with the mean and deviation of the set that the head was fitted on. These,
the backbone's hash, layers and views are kept with the weights, because the same weights on other
features give noise. A head is a few thousand bytes: `<name>.safetensors` and `<name>.json`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lib.inference.rewards.heads.objectives import (
    OBJECTIVES,
    RIDGES,
    Objective,
    cross_validated,
)
from lib.inference.rewards.heads.views import WITH_REFERENCE
from lib.runtime.files import FileError, atomic_write, read_json, sha256_of_value, write_json

ARRAYS = ("weights", "mean", "deviation")


@dataclass(frozen=True)
class HeadOptions:
    """How a head is fitted; the defaults won the cross-validation over prompts."""

    objective: str = "bradley_terry"  # or least_squares, see `objectives`
    ridges: tuple[float, ...] = RIDGES  # candidates; the lowest held-out loss wins
    margin: float = 0.5  # Bradley-Terry's reward difference should be margin * score gap (Llama 2)
    overlap_scale: float = 3.0  # deviation of an overlap beside the many hidden states' 1
    folds: int = 5
    seed: int = 0

    @property
    def fitting(self) -> Objective:
        """The objective that is named."""
        return OBJECTIVES[self.objective]

    def targets(self, gaps: np.ndarray) -> np.ndarray:
        """What the objective is given for score gaps, [pairs]."""
        return self.margin * gaps if self.objective == "bradley_terry" else gaps


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head; arrays are float32 [features]."""

    weights: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    layers: tuple[int, ...]
    views: tuple[str, ...]  # as in `lib.inference.rewards.heads.views`
    pooling: str
    backbone: str  # digest of the model that computed the features
    fitted_on: str
    data_hash: str
    pairs: int
    prompts: int
    options: HeadOptions
    ridge: float
    cv_accuracy: float  # on pairs of prompts outside the fit
    cv_loss: float

    @property
    def reads_reference(self) -> bool:
        """Whether it compares answers with a reference; a prompt without one has no score."""
        return not set(self.views).isdisjoint(WITH_REFERENCE)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Rewards of answers: [answers, features] -> [answers]; NaN features give NaN."""
        return ((features - self.mean) / self.deviation) @ self.weights

    @property
    def digest(self) -> str:
        """Hash of weights and standardisation: equal digests give equal scores."""
        arrays = [getattr(self, name).tolist() for name in ARRAYS]
        return sha256_of_value([arrays, self.layers, self.views, self.pooling, self.backbone])[:16]


def fit_head(features: np.ndarray, pairs: np.ndarray, groups: np.ndarray, gaps: np.ndarray,
             options: HeadOptions = HeadOptions(), scale: float | np.ndarray = 1.0, *,
             layers: Sequence[int], views: Sequence[str], pooling: str, backbone: str,
             fitted_on: str, data_hash: str) -> Head:
    """Fit a head on pairs of answers to the same prompt.

    features: [answers, width]; pairs: [pairs, 2], better answer first; groups: prompt of each
    answer, [answers]; gaps: score difference of each pair, [pairs], 0 for a tie; scale: deviation
    of the standardised features, [width] (a larger one is shrunk less). Cross-validation over
    prompts chooses the ridge. Pairs with NaN features (an answer beyond the context) do not count,
    nor do ties for Bradley-Terry. Raises ValueError without any pair.
    """
    objective, read = options.fitting, np.isfinite(features).all(1)
    mean, deviation = features[read].mean(0), (features[read].std(0) + 1e-6) / scale
    pairs, gaps = usable_pairs(features, pairs, gaps, objective)
    differences = standard_differences(features, pairs, mean, deviation)
    prompts, targets = groups[pairs[:, 0]], options.targets(gaps)
    held_out = cross_validated(objective, differences, prompts, options.ridges, targets,
                               options.folds, options.seed)
    losses = {ridge: float(objective.loss(won, gaps).mean()) for ridge, won in held_out.items()}
    ridge = min(losses, key=losses.__getitem__)
    weights = objective.fit(differences, ridge, targets, np.ones(len(gaps)))
    return Head(
        weights.astype(np.float32), mean.astype(np.float32), deviation.astype(np.float32),
        tuple(layers), tuple(views), pooling, backbone, fitted_on, data_hash, len(pairs),
        len(np.unique(prompts)), options, ridge,
        float((held_out[ridge][gaps > 0] > 0).mean()), losses[ridge])


def usable_pairs(features: np.ndarray, pairs: np.ndarray, gaps: np.ndarray,
                 objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """The pairs whose answers were read, and their gaps; without ties unless they count."""
    kept = np.isfinite(features).all(1)[pairs].all(1) & (objective.ties | (gaps > 0))
    return pairs[kept], gaps[kept]


def standard_differences(features: np.ndarray, pairs: np.ndarray, mean: np.ndarray,
                         deviation: np.ndarray) -> np.ndarray:
    """Differences of standardised features, better minus worse, float64 [pairs, width]."""
    standard = ((features - mean) / deviation).astype(np.float64)
    return standard[pairs[:, 0]] - standard[pairs[:, 1]]


def save_head(head: Head, folder: Path | str, name: str) -> None:
    """Write `<name>.safetensors` (arrays) and `<name>.json` (all else) into `folder`."""
    arrays = {key: getattr(head, key) for key in ARRAYS}
    with atomic_write(Path(folder) / f"{name}.safetensors") as temporary:
        save_file(arrays, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
    rest = {key: value for key, value in asdict(head).items() if key not in ARRAYS}
    write_json(Path(folder) / f"{name}.json", rest | {"digest": head.digest})


def load_head(folder: Path | str, name: str) -> Head:
    """Read a head back; raises FileError when a file is missing, damaged or of another head."""
    path = Path(folder) / f"{name}.safetensors"
    try:
        arrays: dict[str, Any] = load_file(path)
        rest = read_json(Path(folder) / f"{name}.json")
        digest = rest.pop("digest")
        options: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                                   for key, value in rest.pop("options").items()}
        places = {key: tuple(rest[key]) for key in ("layers", "views")}
        head = Head(**arrays, **rest | places, options=HeadOptions(**options))
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        needed = ", ".join(field.name for field in fields(Head))
        raise FileError(f"cannot read the head {path}: {error}; it needs {needed}; "
                        "fit it again") from error
    if head.digest != digest:
        raise FileError(f"{path} and {name}.json belong to different heads; fit them again")
    return head
