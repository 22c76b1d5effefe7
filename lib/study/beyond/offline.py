"""Arms that learn from fixed pairs: another loss, or another choice of pairs."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lib.data.pair_selection.clusters import cluster_labels, equal_quotas
from lib.data.pair_selection.curriculum import easy_first, random_order
from lib.data.pair_selection.filters import fdpo_filter, margin_filter, random_subset, score_gaps
from lib.data.pair_selection.noise import flip_labels
from lib.data.schema import PreferenceRow
from lib.study.beyond.arm import ArmRun, tokens_of
from lib.study.beyond.matched import kl_of_anchor
from lib.study.beyond.settings import PROBES
from lib.study.pools.chosen import measures, own_and_chosen
from lib.study.stages.probe import kl_probe_of_run
from lib.training.job import ProbeMaker
from lib.training.settings import LOSS_SETTINGS

CLUSTERS, SHARE = 8, 0.5  # of prompts; of the pairs that clusters keep


def preference_loss(run: ArmRun, loss: str) -> Path:
    """A loss of the DPO family on the run's own pairs of these prompts."""
    return run.train("dpo", run.pairs(), run.settings(loss))


def flipped_labels(run: ArmRun, loss: str, share: float) -> Path:
    """A loss on pairs of which a share is flipped; one that assumes flipped labels is told it."""
    rows, _ = flip_labels(run.pairs(), share, run.study.profile.data.seed)
    told = {"label_smoothing": share} if LOSS_SETTINGS[loss].get("label_smoothing") else {}
    return run.train("dpo", rows, run.settings(loss, **told))


def chosen_pairs(run: ArmRun, choice: str, by_chance: bool = False) -> Path:
    """DPO on the pairs that a choice of `CHOICES` keeps, or on as many at random."""
    rows, seed = run.pairs(), run.study.profile.data.seed
    kept = CHOICES[choice](run, rows)
    if by_chance:
        kept = random_subset(len(rows), len(kept), seed)
    return run.train("dpo", [rows[index] for index in kept], run.settings())


def wide_margin(run: ArmRun, rows: list[PreferenceRow]) -> list[int]:
    """The half of the pairs whose scores differ most, ties with its narrowest among them."""
    gaps = score_gaps(rows, "margin")
    return margin_filter(gaps, float(np.median(gaps)))


def better_than_own(run: ArmRun, rows: list[PreferenceRow]) -> list[int]:
    """Filtered DPO: pairs whose chosen answer the selector scores above SFT's own, on average."""
    return fdpo_filter(*own_and_chosen(run.study, rows, run.first_answers()))


def equal_clusters(run: ArmRun, rows: list[PreferenceRow]) -> list[int]:
    """Half of the pairs, as many of each cluster of prompts as there are."""
    seed, count = run.study.profile.data.seed, min(CLUSTERS, max(2, len(run.prompts) // 4))
    labels = cluster_labels(measures(run.study, run.folder).embeddings(rows), count, seed)
    return equal_quotas(labels, max(1, round(SHARE * len(rows))), seed)


CHOICES = {"margin": wide_margin, "fdpo": better_than_own, "clusters": equal_clusters}


def curriculum(run: ArmRun, by: str) -> Path:
    """DPO on the pairs from easy to hard by score_gap or reference_gap, or in one random order."""
    rows = run.pairs()
    if by == "chance":
        order = random_order(len(rows), run.study.profile.data.seed)
    else:
        order = easy_first(score_gaps(rows, "a curriculum") if by == "score_gap"
                           else measures(run.study, run.folder).reference_gaps(rows))
    return run.train("dpo", [rows[index] for index in order], run.settings(order="file"))


def adaptive_beta(run: ArmRun) -> Path:
    """DPO whose beta is steered towards half of the KL of offline_dpo.

    KL is measured about `PROBES` times on answers to validation prompts, which no arm is charged
    with. Raises ArmError before that arm has run.
    """
    target = max(1e-6, kl_of_anchor(run) / 2)
    rows, settings = run.pairs(), run.settings()
    pairs = len(rows) * run.study.profile.beyond.trained_tokens / tokens_of(rows)
    every = max(1, round(pairs / settings.batch_size / PROBES))
    probe = ProbeMaker(kl_probe_of_run, {"profile": asdict(run.study.profile), "folder": str(
        run.study.folder), "reference": str(run.sft)})
    return run.train("dpo", rows, run.settings(kl_target=target, evaluate_every=every),
                     probe=probe)
