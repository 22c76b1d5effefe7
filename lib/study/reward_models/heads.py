"""Fit the selector and the judge, and measure both on unseen answers.

The selector is fitted on `on_policy.jsonl` alone, the judge on `judged.jsonl` alone: other prompts,
other answers. Each is tested on the other's set, and both on `audit.jsonl`, which no fit uses. The
command is `python -m lib.study.reward_models.heads`.

Cross-validation over the prompts of each fitting set chose the defaults (five folds, one or two
draws; accuracy on judged / on_policy):

- layer 19 of 30, mean over response tokens: .749 / .690. Layer 13 .717 / .636, 17 .736 / .664, 18
  .738 / .680, 20 .737 / .674, 22 .727 / .668; the last token, the maximum, the deviation and halves
  of the answer are worse.
- with the second view (`lib.inference.rewards.heads.views`): .767 / .700, and a lower held-out
  loss on both (.515 / .573 instead of .517 / .587). It costs a second pass over the texts.
- a margin of half the score gap: .767 / .700; without one .757 / .696.

No gain, or none on both: several layers together (17, 19 and 22: .745 / .686) or heads averaged
over layers (.743 / .689); deviations, halves or the last token beside the mean (.753 / .691 at
best); products with the prompt's mean (.754 / .690); the features minus those of the answer
without its prompt (.769 / .680); log-probabilities of the prompt, and of the answer with and
without it (.766 / .696, on the second at a higher loss); a question for a verdict (.755 / .684);
scaling within a prompt (.749 / .687); a head that knows which system wrote the answer (.750 /
.687); gap weights; regression on scores; kernels; layers 17 to 19 tuned with the head for two
epochs (three folds: .743 / .679, and .739 / .671 without).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.analysis.judges.reward_models import head_report, summary_line
from lib.data.sources import SAMPLE
from lib.inference.rewards.heads.answers import ScoredAnswers, scored_answers
from lib.inference.rewards.heads.feature_store import FeatureStore, ship_features
from lib.inference.rewards.heads.features import POOLING, Backbone, load_backbone
from lib.inference.rewards.heads.head import Head, HeadOptions, fit_head, save_head
from lib.inference.rewards.heads.views import VIEWS, seen_as, view_features
from lib.runtime.devices import choose_device
from lib.runtime.files import Row, read_jsonl, write_json
from lib.runtime.progress import say

DEPTH = 19 / 30  # the layer that won the cross-validation of both sets, as a share of all layers
SETS = ("on_policy", "judged", "audit")  # the selector's, the judge's, and the test of both


def fit_reward_models(backbone: Backbone, cache_folder: Path | str | None = None,
                      folder: Path = SAMPLE, layers: Sequence[int] = ()) -> dict[str, Any]:
    """Fit both heads and test them: {"selector": Head, "judge": Head, "reports"}.

    cache_folder: for the features, so that a second fit takes seconds. folder: of the scored
    answers. layers: to read; none takes one, 19 of 30 deep. `reports` are
    {head: {test set: report}}, JSON-ready.
    """
    layers = layers or (max(1, round(DEPTH * backbone.layers)),)
    on_policy, judged, audit = (scored_answers(read_jsonl(folder / f"{name}.jsonl"), name)
                                for name in SETS)
    features = {answers.name: view_features(backbone, answers.conversations, layers, VIEWS,
                                            cache_folder)
                for answers in (on_policy, judged, audit)}
    fitted_on = {"selector": on_policy, "judge": judged}
    heads = {name: _fit(name, answers, features[answers.name], layers, backbone)
             for name, answers in fitted_on.items()}
    unseen = {"selector": (judged, audit), "judge": (on_policy, audit)}
    return heads | {"reports": {name: _reports(name, head, unseen[name], features)
                                for name, head in heads.items()}}


def save_reward_models(fitted: dict[str, Any], folder: Path | str) -> None:
    """Write both heads and `reward_models.json` (the reports) into `folder`."""
    for name in ("selector", "judge"):
        save_head(fitted[name], folder, name)
    write_json(Path(folder) / "reward_models.json", fitted["reports"])


def _fit(name: str, answers: ScoredAnswers, features: np.ndarray, layers: Sequence[int],
         backbone: Backbone) -> Head:
    head = fit_head(features, answers.pairs, answers.groups, answers.gaps, HeadOptions(),
                    layers=layers, views=VIEWS, pooling=POOLING, backbone=backbone.digest,
                    fitted_on=answers.name, data_hash=answers.digest)
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
    """Fit both heads, print their accuracies, and save them with --out."""
    parser = argparse.ArgumentParser(description="Fit the selector and the judge and test them.")
    parser.add_argument("--backbone", default="packaged", help="packaged, a folder or a hub id")
    parser.add_argument("--cache", type=Path, help="folder for features, so that a refit is quick")
    parser.add_argument("--out", type=Path, help="folder for the heads and the report")
    parser.add_argument("--ship", action="store_true",
                        help="also write the sample's features to data/features, from --cache")
    given = parser.parse_args(arguments)
    place = choose_device()
    backbone = load_backbone(given.backbone, place.dtype, place.device)
    fitted = fit_reward_models(backbone, given.cache)
    if given.out:
        save_reward_models(fitted, given.out)
    if given.ship:
        _ship(fitted["selector"], given.cache)


def _ship(head: Head, cache_folder: Path | None) -> None:
    for layer in head.layers:
        store = FeatureStore(cache_folder, head.backbone, head.pooling, layer)
        for name in SETS:
            answers = scored_answers(read_jsonl(SAMPLE / f"{name}.jsonl"), name).conversations
            read = [each for view in head.views for each in seen_as(view, answers)]
            say(f"wrote {ship_features(store, read, name)}")


if __name__ == "__main__":
    main()
