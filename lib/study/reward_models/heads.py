"""Fit the selector and the judge, and measure both on unseen answers.

The selector is fitted on `on_policy.jsonl` alone, the judge on `judged.jsonl` and
`judged_fresh.jsonl` alone: other prompts, other answers. The judge also compares each answer with
its prompt's written one, which the selector never sees; for prompts without one there is a third
head. Each is tested on a set of the other and on `audit.jsonl`, which no fit and no choice uses.
`python -m lib.study.reward_models.heads` fits; `lib.study.reward_models.choices` says how the
recipes were chosen, each within its own set.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.analysis.judges.reward_models import head_report, summary_line
from lib.data.sources import SAMPLE
from lib.inference.rewards.heads.answers import scored_answers
from lib.inference.rewards.heads.feature_store import (
    FeatureStore,
    conversation_key,
    ship_features,
)
from lib.inference.rewards.heads.features import POOLING, Backbone, load_backbone
from lib.inference.rewards.heads.head import Head, HeadOptions, fit_head, save_head
from lib.inference.rewards.heads.views import (
    READ,
    SHOWN,
    WITH_REFERENCE,
    feature_scale,
    seen_as,
    view_features,
)
from lib.runtime.devices import choose_device
from lib.runtime.files import Row, read_jsonl, write_json
from lib.runtime.progress import about, say
from lib.study.reward_models.references import sample_references

DEPTH = 19 / 30  # of the layer that is read, as a share of all layers
FRESH = "judged_fresh"  # further answers to the prompts of judged.jsonl
SETS = {"on_policy": ("on_policy",), "judged": ("judged",), "judged and fresh": ("judged", FRESH),
        "audit": ("audit",)}  # files of the selector's set, of two for the judge, of the test
FILES = tuple(dict.fromkeys(name for files in SETS.values() for name in files))
WITHOUT = "judge_without_reference"
PLAIN = ("prompt_then_answer",)
DEFAULTS = HeadOptions()


@dataclass(frozen=True)
class Recipe:
    """A head's set, views, depth in the backbone and objective; half: every other prompt."""

    fitted_on: str
    views: tuple[str, ...]
    depth: float = DEPTH
    half: int | None = None  # 0: from the first prompt on, 1: from the second
    objective: str = DEFAULTS.objective

    def layer(self, backbone: Backbone) -> int:
        """The layer at this depth."""
        return max(1, round(self.depth * backbone.layers))


RECIPES = {"selector": Recipe("on_policy", READ),
           "judge": Recipe("judged and fresh", (*PLAIN, *WITH_REFERENCE),
                           objective="least_squares"),
           WITHOUT: Recipe("judged and fresh", PLAIN, objective="least_squares")}
TESTED_ON = {"on_policy": ("judged", "audit"), "judged and fresh": ("on_policy", "audit")}


class Sample:
    """The scored answers of the sample in `folder`, their references, and their features by view.

    cache_folder: for the features, so that a second fit takes seconds.
    """

    def __init__(self, backbone: Backbone, cache_folder: Path | str | None = None,
                 folder: Path = SAMPLE) -> None:
        self.backbone, self.cache_folder = backbone, cache_folder
        self.references = sample_references(folder)
        self.answers = {name: scored_answers(rows_of(folder, files), name)
                        for name, files in SETS.items()}
        self.known: dict[tuple[str, str, int], np.ndarray] = {}

    def features(self, name: str, recipe: Recipe) -> np.ndarray:
        """Features of one set's answers, [answers, features]; no view is read twice."""
        layer = recipe.layer(self.backbone)
        for view in recipe.views:
            if (name, view, layer) not in self.known:
                with about(name):
                    self.known[name, view, layer] = view_features(
                        self.backbone, self.answers[name].conversations, (layer,), [view],
                        self.cache_folder, self.references)
        return np.hstack([self.known[name, view, layer] for view in recipe.views])


def rows_of(folder: Path, files: Sequence[str]) -> list[Row]:
    """The rows of all these files; a prompt has one in each reading of its answers."""
    return [row for name in files for row in read_jsonl(folder / f"{name}.jsonl")]


def fit_reward_models(sample: Sample) -> dict[str, Any]:
    """Fit the heads of `RECIPES` and test them: {"heads": {name: Head}, "reports"}.

    `reports` are {head: {test set: report}}, JSON-ready.
    """
    heads = {name: fit_recipe(sample, recipe, name) for name, recipe in RECIPES.items()}
    return {"heads": heads, "reports": {name: _reports(sample, name, head)
                                        for name, head in heads.items()}}


def fit_recipe(sample: Sample, recipe: Recipe, name: str) -> Head:
    """Fit one head and say how accurate it is on prompts left out of the fit."""
    groups = sample.answers[recipe.fitted_on].groups
    head = fit_on(sample, recipe, np.full(len(groups), True) if recipe.half is None
                  else groups % 2 == recipe.half)
    say(f"{name}: fitted on {head.pairs} pairs of {head.fitted_on}, layer {head.layers[0]}, ridge "
        f"{head.ridge:g}; accuracy {head.cv_accuracy:.3f} on prompts left out of the fit")
    return head


def fit_on(sample: Sample, recipe: Recipe, kept: np.ndarray,
           options: HeadOptions = DEFAULTS) -> Head:
    """Fit a head on the answers marked in `kept`, [answers] of the recipe's set."""
    answers, layers = sample.answers[recipe.fitted_on], (recipe.layer(sample.backbone),)
    pairs = answers.all_pairs[kept[answers.all_pairs[:, 0]]]
    return fit_head(
        sample.features(recipe.fitted_on, recipe), pairs, answers.groups, answers.gaps_of(pairs),
        replace(options, objective=recipe.objective),
        feature_scale(sample.backbone, layers, recipe.views, options.overlap_scale), layers=layers,
        views=recipe.views, pooling=POOLING, backbone=sample.backbone.digest,
        fitted_on=answers.name, data_hash=answers.digest)


def save_reward_models(fitted: Mapping[str, Any], folder: Path | str) -> None:
    """Write the heads and `reward_models.json` (the reports) into `folder`."""
    for name, head in fitted["heads"].items():
        save_head(head, folder, name)
    write_json(Path(folder) / "reward_models.json", fitted["reports"])


def _reports(sample: Sample, name: str, head: Head) -> dict[str, Row]:
    recipe = RECIPES[name]
    reports = {test: head_report(head(sample.features(test, recipe)), sample.answers[test])
               for test in TESTED_ON[recipe.fitted_on]}
    for report in reports.values():
        say(summary_line(name, report))
    return reports


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the heads, print their accuracies, and save them with --out."""
    parser = argparse.ArgumentParser(description="Fit the selector and the judge and test them.")
    parser.add_argument("--backbone", default="packaged", help="packaged, a folder or a hub id")
    parser.add_argument("--cache", type=Path, help="folder for features, so that a refit is quick")
    parser.add_argument("--out", type=Path, help="folder for the heads and the report")
    parser.add_argument("--ship", action="store_true",
                        help="also write the sample's features to data/features, from --cache")
    given = parser.parse_args(arguments)
    place = choose_device()
    backbone = load_backbone(given.backbone, place.dtype, place.device)
    fitted = fit_reward_models(Sample(backbone, given.cache))
    if given.out:
        save_reward_models(fitted, given.out)
    if given.ship:
        ship(backbone, given.cache)


def ship(backbone: Backbone, cache_folder: Path | None) -> None:
    """Write the features of the sample's answers that the cache holds to data/features."""
    references = sample_references()
    for layer in range(1, backbone.layers + 1):
        store = FeatureStore(cache_folder, backbone.digest, POOLING, layer)
        for name in FILES:
            answers = scored_answers(read_jsonl(SAMPLE / f"{name}.jsonl"), name).conversations
            known = [each for view in (*READ, SHOWN) for each in seen_as(view, answers, references)
                     if each is not None and conversation_key(each) in store.features]
            if known:
                say(f"wrote {', '.join(map(str, ship_features(store, known, name)))}")


if __name__ == "__main__":
    main()
