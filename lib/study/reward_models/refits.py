"""How far the verdicts of an embedded judge hang on the prompts that its head was fitted on.

The head is fitted again on resampled prompts of its own set, and scores the audit's answers: what
then moves is the judge alone, for the answers stay. Features come from the cache; seconds.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from lib.analysis.comparisons.win_rates import Pair
from lib.analysis.design.components import refit_rows
from lib.data.sources import SAMPLE, load_scored
from lib.inference.rewards import Conversation
from lib.inference.rewards.heads.answers import scored_answers
from lib.inference.rewards.heads.embedded import EmbeddedRewardModel
from lib.inference.rewards.heads.refits import refit
from lib.inference.rewards.heads.views import view_features
from lib.runtime.files import Row
from lib.study.reward_models.heads import SETS, rows_of


def audit_refits(model: EmbeddedRewardModel, pairs: Iterable[Pair], number: int = 50,
                 seed: int = 0) -> list[Row]:
    """`refit_rows` of one embedded model on the audit's answers."""
    name = model.head.fitted_on
    fitted_on = scored_answers(rows_of(SAMPLE, SETS[name]), name)
    rows = load_scored("audit")
    audit = scored_answers(rows, "audit")
    pairs_fitted = fitted_on.all_pairs
    heads = refit(model.head, _features(model, fitted_on.conversations), pairs_fitted,
                  fitted_on.groups, fitted_on.gaps_of(pairs_fitted), number, seed)
    features = _features(model, audit.conversations)
    ends = np.cumsum([len(row["answers"]) for row in rows])[:-1]
    return refit_rows(rows, [np.split(head(features), ends) for head in heads], model.name, pairs)


def _features(model: EmbeddedRewardModel, conversations: Sequence[Conversation]) -> np.ndarray:
    return view_features(model.backbone, conversations, model.head.layers, model.head.views,
                         model.cache_folder, model.references)
