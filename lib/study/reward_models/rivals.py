"""Judges that share more or less with each other: an experiment on the audit's answers.

Beside the run's selector and judge stand heads that differ in one thing: the prompts of the fit,
the layer, or whether they read answer or reference. Notebook 05 shows what each two share beyond
the reader, and what the picks of the one win by the other. Nothing is chosen by it.
"""

from collections.abc import Mapping

import numpy as np

from lib.analysis.judges.audit import READER
from lib.analysis.judges.judge_pairs import judge_pairs
from lib.inference.rewards.heads.answers import ScoredAnswers
from lib.inference.rewards.heads.head import Head
from lib.inference.rewards.heads.views import OVERLAP
from lib.runtime.files import Row
from lib.study.reward_models.heads import PLAIN, RECIPES, WITHOUT, Recipe, Sample, fit_recipe

RIVALS = {"first half": Recipe("judged", PLAIN, half=0),
          "second half": Recipe("judged", PLAIN, half=1),
          "second half, other layer": Recipe("judged", PLAIN, depth=11 / 30, half=1),
          "overlap alone": Recipe("judged", (OVERLAP,))}


def rival_pairs(sample: Sample, heads: Mapping[str, Head]) -> list[Row]:
    """Rows of `judge_pairs` for the run's heads and the rivals, on the audit."""
    recipes = {name: recipe for name, recipe in RECIPES.items() if name != WITHOUT} | RIVALS
    scores = {name: (heads[name] if name in heads else fit_recipe(sample, recipe, name))(
        sample.features("audit", recipe)) for name, recipe in recipes.items()}
    audit = sample.answers["audit"]
    return judge_pairs({name: by_prompt(values, audit)
                        for name, values in (scores | {READER: audit.scores}).items()}, READER)


def by_prompt(scores: np.ndarray, answers: ScoredAnswers) -> np.ndarray:
    """Scores [answers] as [prompts, answers a prompt], NaN where a prompt has fewer."""
    sizes = np.bincount(answers.groups)
    table = np.full((len(sizes), sizes.max()), np.nan)
    place = np.arange(len(scores)) - (np.cumsum(sizes) - sizes)[answers.groups]
    table[answers.groups, place] = scores
    return table
