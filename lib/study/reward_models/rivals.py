"""Judges that share more or less with each other: an experiment on the audit's answers.

Beside the run's selector and judge stand heads that differ in one thing: the prompts of the fit,
the layer, or whether they read answer or reference. Notebook 05 shows what each two share beyond
the reader, and what the picks of the one win by the other. Nothing is chosen by it. The command

    python -m lib.study.reward_models.rivals --other gemma --cache DIR

prints the same table with a head on another model's hidden states, which takes minutes once.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.analysis.judges.audit import READER
from lib.analysis.judges.judge_pairs import judge_pairs
from lib.analysis.tables.selection import judge_pairs_table
from lib.inference.rewards.heads.answers import ScoredAnswers
from lib.inference.rewards.heads.features import load_backbone
from lib.inference.rewards.heads.head import Head
from lib.inference.rewards.heads.views import OVERLAP
from lib.runtime.devices import choose_device
from lib.runtime.files import Row
from lib.study.reward_models.heads import PLAIN, RECIPES, WITHOUT, Recipe, Sample, fit_recipe

RIVALS = {"first half": Recipe("judged", PLAIN, half=0),
          "second half": Recipe("judged", PLAIN, half=1),
          "second half, other layer": Recipe("judged", PLAIN, depth=11 / 30, half=1),
          "overlap alone": Recipe("judged", (OVERLAP,))}


def rival_pairs(sample: Sample, heads: Mapping[str, Head],
                others: Mapping[str, Sample] | None = None) -> list[Row]:
    """Rows of `judge_pairs` for the run's heads and the rivals, on the audit.

    others: the sample as further backbones read it, by the name of the judge.
    """
    fits = [(name, sample, recipe) for name, recipe in (RECIPES | RIVALS).items()
            if name != WITHOUT]
    fits += [(name, seen, RIVALS["second half"]) for name, seen in (others or {}).items()]
    scores = {name: (heads[name] if name in heads else fit_recipe(seen, recipe, name))(
        seen.features("audit", recipe)) for name, seen, recipe in fits}
    audit = sample.answers["audit"]
    return judge_pairs({name: by_prompt(values, audit)
                        for name, values in (scores | {READER: audit.scores}).items()}, READER)


def by_prompt(scores: np.ndarray, answers: ScoredAnswers) -> np.ndarray:
    """Scores [answers] as [rows, answers a row], NaN where a row has fewer."""
    sizes = np.bincount(answers.rows)
    table = np.full((len(sizes), sizes.max()), np.nan)
    place = np.arange(len(scores)) - (np.cumsum(sizes) - sizes)[answers.rows]
    table[answers.rows, place] = scores
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of pairs, with heads on further models if some are named."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", nargs="*", default=[], help="further models: a name or a folder")
    parser.add_argument("--cache", type=Path, help="folder for features, so that a rerun is quick")
    given = parser.parse_args(arguments)
    place = choose_device()
    packaged, *others = (Sample(load_backbone(name, place.dtype, place.device), given.cache)
                         for name in ("packaged", *given.other))
    heads = {name: fit_recipe(packaged, recipe, name) for name, recipe in RECIPES.items()}
    print(judge_pairs_table(rival_pairs(packaged, heads, dict(zip(given.other, others,
                                                                  strict=True)))))


if __name__ == "__main__":
    main()
