"""All choices of a profile's `data`, one after the other, with a count of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.pair_selection.clusters import cluster_labels, equal_quotas
from lib.data.pair_selection.curriculum import easy_first, random_order
from lib.data.pair_selection.filters import fdpo_filter, margin_filter, random_subset, score_gaps
from lib.data.pair_selection.noise import flip_labels
from lib.data.pair_selection.settings import PairSelection
from lib.data.schema import PreferenceRow
from lib.runtime.files import Row

Pairs = Sequence[PreferenceRow]


@dataclass(frozen=True)
class Measures:
    """What a choice asks models about pairs; each is called only where a choice needs it."""

    own_scores: Callable[[Pairs], tuple[np.ndarray, np.ndarray]]  # of own and of chosen answers
    reference_gaps: Callable[[Pairs], np.ndarray]  # nats, [pairs]
    embeddings: Callable[[Pairs], np.ndarray]  # of prompts, [pairs, width]


def selected_pairs(rows: Pairs, settings: PairSelection, measures: Measures,
                   seed: int) -> tuple[list[PreferenceRow], list[Row]]:
    """The pairs that the settings choose, in their order, and {"step", "pairs", ...} of each step.

    With `random_control` each step takes as many pairs, or an order, at random. Raises ValueError
    where a step cannot be done.
    """
    rows, flipped = flip_labels(rows, settings.label_noise, seed)
    report: list[Row] = [{"step": "label_noise", "pairs": len(rows), "flipped": flipped}] \
        if flipped else []
    steps = ((settings.margin, "margin", _by_margin), (settings.fdpo_threshold, "fdpo", _by_fdpo),
             (settings.clusters, "clusters", _by_cluster),
             (settings.curriculum, "curriculum", _by_ease))
    for setting, name, step in steps:
        if setting is not None:
            indices = step(rows, settings, measures, seed)
            if settings.random_control:
                indices = (random_order(len(rows), seed) if name == "curriculum"
                           else random_subset(len(rows), len(indices), seed))
            rows = [rows[index] for index in indices]
            report.append({"step": name, "pairs": len(rows), "control": settings.random_control})
    return rows, report


def _by_margin(rows: Pairs, settings: PairSelection, measures: Measures, seed: int) -> list[int]:
    assert settings.margin is not None  # as in the other steps: each is one that is set
    return margin_filter(score_gaps(rows, "margin"), settings.margin)


def _by_fdpo(rows: Pairs, settings: PairSelection, measures: Measures, seed: int) -> list[int]:
    assert settings.fdpo_threshold is not None
    return fdpo_filter(*measures.own_scores(rows), settings.fdpo_threshold)


def _by_cluster(rows: Pairs, settings: PairSelection, measures: Measures, seed: int) -> list[int]:
    assert settings.clusters is not None
    labels = cluster_labels(measures.embeddings(rows), settings.clusters, seed)
    return equal_quotas(labels, max(1, round(settings.cluster_share * len(rows))), seed)


def _by_ease(rows: Pairs, settings: PairSelection, measures: Measures, seed: int) -> list[int]:
    return easy_first(score_gaps(rows, "curriculum=score_gap")
                      if settings.curriculum == "score_gap" else measures.reference_gaps(rows))
