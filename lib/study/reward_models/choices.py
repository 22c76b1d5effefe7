"""How the heads' recipes were chosen: cross-validation over the prompts of a head's own set.

    python -m lib.study.reward_models.choices --cache DIR [--layers 13 16 22]

The judge's choices use its own two files alone, the selector's `on_policy.jsonl` alone; the audit
and the held-out answers choose nothing. One trace of another set is left: the list of overlaps was
drawn up on `on_policy.jsonl` with its written answers, and cut down within the judge's set. The
table that this prints stands in data/README.md. Layers whose features are not shipped are read
once, in minutes, and --cache keeps them.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.analysis.judges.correlations import correlation_rows
from lib.analysis.judges.reward_models import head_report
from lib.analysis.tables.formatting import interval_of, markdown_table
from lib.inference.rewards.heads.features import load_backbone
from lib.inference.rewards.heads.head import HeadOptions
from lib.inference.rewards.heads.objectives import OBJECTIVES, group_folds
from lib.inference.rewards.heads.views import OVERLAP, SHOWN
from lib.runtime.devices import choose_device
from lib.runtime.files import Row
from lib.study.reward_models.heads import DEFAULTS, PLAIN, RECIPES, Recipe, Sample, fit_on
from lib.study.reward_models.rivals import by_prompt

FOLDS = 5
QUICK = replace(DEFAULTS, ridges=(0.1, 0.6, 1.0, 2.0), folds=3)  # the ridge, chosen within each fit


def choice_rows(sample: Sample, layers: Sequence[int] = ()) -> list[Row]:
    """Each variant of each head on prompts left out of its fit: accuracy and correlation.

    layers: further ones to try. Rows {"head", "variant", "n", "prompts", "value", "ci_low",
    "ci_high", "correlation", "correlation_low", "correlation_high"}, the first of each head as it
    is fitted.
    """
    return [{"head": name, "variant": words} | _measured(sample, recipe, options)
            for name in ("judge", "selector")
            for words, recipe, options in _variants(name, sample, layers)]


def held_out_rewards(sample: Sample, recipe: Recipe, options: HeadOptions) -> np.ndarray:
    """Rewards of a set's answers by heads that never saw their prompts, [answers].

    Each fit chooses its ridge itself, so that no choice sees the fold that it is measured on.
    """
    groups = sample.answers[recipe.fitted_on].groups
    features = sample.features(recipe.fitted_on, recipe)
    rewards = np.full(len(groups), np.nan)
    for left_out in group_folds(groups, FOLDS, seed=1):
        rewards[left_out] = fit_on(sample, recipe, ~left_out, options)(features[left_out])
    return rewards


def _variants(name: str, sample: Sample,
              layers: Sequence[int]) -> Iterator[tuple[str, Recipe, HeadOptions]]:
    """(words, recipe, options), one thing changed at a time."""
    chosen, options = RECIPES[name], QUICK
    yield "as it is", chosen, options
    yield "hidden states of the answer alone", replace(chosen, views=PLAIN), options
    if OVERLAP in chosen.views:
        yield "overlap with the reference alone", replace(chosen, views=(OVERLAP,)), options
        yield "the reference is not shown to the model", replace(
            chosen, views=(*PLAIN, OVERLAP)), options
        yield "the model sees the reference, no overlap", replace(
            chosen, views=(*PLAIN, SHOWN)), options
    other = next(each for each in OBJECTIVES if each != chosen.objective)
    yield f"`{other}`, not `{chosen.objective}`", replace(chosen, objective=other), options
    for margin in (0.0, 1.0) if chosen.objective == "bradley_terry" else ():
        yield f"margin of {margin:g} score gaps, not {options.margin:g}", chosen, replace(
            options, margin=margin)
    for scale in (1.0, 5.0) if OVERLAP in chosen.views else ():
        yield f"overlaps {scale:g} times as wide, not {options.overlap_scale:g}", chosen, replace(
            options, overlap_scale=scale)
    for layer in layers:
        yield f"layer {layer}, not {chosen.layer(sample.backbone)}", replace(
            chosen, depth=layer / sample.backbone.layers), options


def _measured(sample: Sample, recipe: Recipe, options: HeadOptions) -> Row:
    answers = sample.answers[recipe.fitted_on]
    rewards = held_out_rewards(sample, recipe, options)
    [shared] = correlation_rows({"head": by_prompt(rewards, answers),
                                 "reader": by_prompt(answers.scores, answers)}, "reader")
    return head_report(rewards, answers)["all"] | {
        "correlation": shared["correlation"], "correlation_low": shared["ci_low"],
        "correlation_high": shared["ci_high"]}


def choices_table(rows: Sequence[Row]) -> str:
    """The rows as Markdown: look at whether the first of each head lies below another."""
    return markdown_table(rows, {
        "head": "head", "variant": "variant",
        "pairs": "n", "accuracy on left-out prompts [95 %]": interval_of("value", digits=3),
        "correlation with the reader within prompts [95 %]": interval_of(
            "correlation", "correlation", 3)}, "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder for features, so that a rerun is quick")
    parser.add_argument("--layers", type=int, nargs="*", default=[], help="further layers to try")
    given = parser.parse_args(arguments)
    place = choose_device()
    sample = Sample(load_backbone("packaged", place.dtype, place.device), given.cache)
    print(choices_table(choice_rows(sample, given.layers)))


if __name__ == "__main__":
    main()
