"""Fit the selector and the judge, and measure both on answers that they never saw.

The selector is fitted on `on_policy.jsonl` alone, the judge on `judged.jsonl` alone: other prompts,
other answers. Each is tested on the other's set, and both on `audit.jsonl`, which no head is fitted
on. `python -m lib.study.reward_models.heads` does it from the command line.

How the defaults were chosen, by cross-validation over the prompts of each fitting set alone (five
folds, one or two draws; accuracy on judged / on_policy):

- layer 19 of 30, mean over response tokens: .749 / .690. Layer 13 .717 / .636, 17 .736 / .664, 18
  .738 / .680, 20 .737 / .674, 22 .727 / .668; the last token, the maximum, the deviation and halves
  of the answer are worse.
- with the second view (`lib.inference.rewards.heads.views`) beside it: .767 / .700, and a lower
  held-out loss on both (.515 / .573 instead of .517 / .587). It costs a second pass over the texts.
- a margin of half the score gap: .767 / .700; without one .757 / .696.

No gain, or none on both: several layers together (17, 19 and 22: .745 / .686) or heads averaged
over layers (.743 / .689); deviations, halves or the last token beside the mean (.753 / .691 at
best); products with the prompt's mean (.754 / .690); the answer read without its prompt, taken off
(.769 / .680); log-probabilities with and without the prompt and of it (.766 / .696, on the second
at a higher loss); a question for a verdict (.755 / .684); scales from within a prompt (.749 /
.687); a head that knows which system wrote the answer (.750 / .687); gap weights; regression on
scores; kernels; layers 17 to 19 tuned with the head for two epochs (three folds: .743 / .679, and
.739 / .671 without).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.analysis.judges.reward_models import head_report, summary_line
from lib.data.sources import SAMPLE
from lib.inference.rewards.heads.answers import ScoredAnswers, scored_answers
from lib.inference.rewards.heads.embedded import EmbeddedRewardModel
from lib.inference.rewards.heads.feature_store import FeatureStore, ship_features
from lib.inference.rewards.heads.features import POOLING, Backbone, load_backbone
from lib.inference.rewards.heads.head import Head, HeadOptions, fit_head, save_head
from lib.inference.rewards.heads.views import VIEWS, seen_as, view_features
from lib.runtime.devices import choose_device
from lib.runtime.files import Row, read_jsonl, write_json
from lib.runtime.progress import say

DEPTH = 19 / 30  # the layer that won the cross-validation of both sets, as a share of all layers


@dataclass(frozen=True)
class RewardSettings:
    """What the two heads are fitted on and how."""

    on_policy: Path = SAMPLE / "on_policy.jsonl"  # fits the selector
    judged: Path = SAMPLE / "judged.jsonl"  # fits the judge
    audit: Path = SAMPLE / "audit.jsonl"  # measures both
    layers: tuple[int, ...] | None = None  # None: one layer, 19 of 30 deep
    views: tuple[str, ...] = VIEWS
    options: HeadOptions = HeadOptions()
    device: str = "auto"
    precision: str = "auto"


def fit_reward_models(backbone: str | Path | Backbone, cache_folder: Path | str | None = None,
                      settings: RewardSettings = RewardSettings()) -> dict[str, Any]:
    """Fit both heads and test them: {"selector": Head, "judge": Head, "reports", "models"}.

    backbone: what `load_backbone` takes, or one that is loaded. `models` are the two
    EmbeddedRewardModels by name; `reports` are {head: {test set: report}}, JSON-ready. Features go
    to `cache_folder`, so that a second fit takes seconds.
    """
    if not isinstance(backbone, Backbone):
        place = choose_device(settings.device, settings.precision)
        backbone = load_backbone(str(backbone), place.dtype, place.device)
    layers = settings.layers or (default_layer(backbone),)
    on_policy, judged, audit = (
        scored_answers(read_jsonl(path), path.stem)
        for path in (settings.on_policy, settings.judged, settings.audit))
    features = {answers.name: view_features(backbone, answers.conversations, layers, settings.views,
                                            cache_folder)
                for answers in (on_policy, judged, audit)}
    heads = {name: _fit(name, answers, features[answers.name], layers, backbone, settings)
             for name, answers in (("selector", on_policy), ("judge", judged))}
    unseen = {"selector": (judged, audit), "judge": (on_policy, audit)}
    reports = {name: _reports(name, head, unseen[name], features) for name, head in heads.items()}
    models = {name: EmbeddedRewardModel(name, head, backbone, cache_folder)
              for name, head in heads.items()}
    return heads | {"reports": reports, "models": models}


def default_layer(backbone: Backbone) -> int:
    """The layer to read: 19 of 30, and as deep in other backbones."""
    return max(1, round(DEPTH * backbone.layers))


def save_reward_models(fitted: dict[str, Any], folder: Path | str) -> None:
    """Write both heads and `reward_models.json` (the reports) into `folder`."""
    for name in ("selector", "judge"):
        save_head(fitted[name], folder, name)
    write_json(Path(folder) / "reward_models.json", fitted["reports"])


def _fit(name: str, answers: ScoredAnswers, features: np.ndarray, layers: Sequence[int],
         backbone: Backbone, settings: RewardSettings) -> Head:
    head = fit_head(features, answers.pairs, answers.groups, answers.gaps, settings.options,
                    layers=layers, views=settings.views, pooling=POOLING,
                    backbone=backbone.digest, fitted_on=answers.name, data_hash=answers.digest)
    say(f"{name}: fitted on {head.pairs} pairs of {answers.name}, layer "
        f"{', '.join(map(str, head.layers))}, ridge {head.ridge:g}; accuracy "
        f"{head.cv_accuracy:.3f} on prompts left out of the fit")
    return head


def _reports(name: str, head: Head, unseen: Sequence[ScoredAnswers],
             features: dict[str, np.ndarray]) -> dict[str, Row]:
    reports = {answers.name: head_report(head(features[answers.name]), answers)
               for answers in unseen}
    for report in reports.values():
        say(summary_line(name, report))
    return reports


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: fit, print the accuracies, and save with --out."""
    parser = argparse.ArgumentParser(description="Fit the selector and the judge and test them.")
    parser.add_argument("--backbone", default="packaged", help="packaged, a folder or a hub id")
    parser.add_argument("--cache", type=Path, help="folder for features, so that a refit is quick")
    parser.add_argument("--out", type=Path, help="folder for the heads and the report")
    parser.add_argument("--ship", action="store_true",
                        help="also write the sample's features to data/features, from --cache")
    given = parser.parse_args(arguments)
    fitted = fit_reward_models(given.backbone, given.cache)
    if given.out:
        save_reward_models(fitted, given.out)
    if given.ship:
        _ship(fitted["selector"], given.cache)


def _ship(head: Head, cache_folder: Path | None) -> None:
    for layer in head.layers:
        store = FeatureStore(cache_folder, head.backbone, head.pooling, layer)
        for name in ("on_policy", "judged", "audit"):
            answers = scored_answers(read_jsonl(SAMPLE / f"{name}.jsonl"), name).conversations
            read = [each for view in head.views for each in seen_as(view, answers)]
            say(f"wrote {ship_features(store, read, name)}")


if __name__ == "__main__":
    main()
