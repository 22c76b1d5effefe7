"""The reward models of a run: embedded heads fitted on disjoint data, or those of the profile.

The first notebook that needs a score runs stage `rewards`, which fits the heads
(rewards/*.safetensors, reward_models.json). An embedded judge reads the reference of a prompt that
has one. Other kinds (Nemotron, classifiers) need no fit; rewards/scores.sqlite caches their scores.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.data.schema import is_cut_off, is_missing
from lib.data.sources import SAMPLE
from lib.inference.rewards import (
    ROLES,
    Conversation,
    conversation,
    deciding,
    question_of,
)
from lib.inference.rewards.heads.embedded import EmbeddedRewardModel, score_with_all
from lib.inference.rewards.heads.features import load_backbone
from lib.inference.rewards.heads.head import load_head
from lib.inference.rewards.heads.views import VIEWS, References
from lib.modeling.loading import model_hash, resolve_model
from lib.runtime.files import Row, read_json, sha256_of, write_json
from lib.runtime.places import kept
from lib.runtime.progress import say
from lib.study.reward_models.heads import (
    FILES,
    RECIPES,
    WITHOUT,
    Sample,
    fit_reward_models,
    save_reward_models,
)
from lib.study.reward_models.references import WRITTEN, references_of, sample_references
from lib.study.reward_models.remote import remote_reward_model
from lib.study.reward_models.rivals import rival_pairs
from lib.study.run import Study, run_stage
from lib.study.stages.data import load_part

SCORED = tuple(SAMPLE / f"{name}.jsonl" for name in sorted({*FILES, *WRITTEN}))


def fit_rewards(study: Study, says: bool = True) -> dict[str, Any]:
    """Fit the embedded heads, unless they are finished; returns reports on unseen pairs.

    says: tell that they are finished; what only needs them says nothing of it.
    """
    settings = study.profile.rewards.scoring
    if "embedded" not in (settings.selector, settings.judge):
        return {}
    backbone = resolve_model(settings.backbone)
    folder = run_stage(
        study, "rewards", {"backbone": settings.backbone, "views": VIEWS},
        outputs=["reward_models.json", "judge_pairs.json",
                 *(f"{name}.safetensors" for name in RECIPES)],
        work=lambda folder: _fit(study, backbone, folder),
        inputs={"backbone": model_hash(backbone)} | {path.name: sha256_of(path) for path in SCORED},
        says=says)
    return read_json(folder / "reward_models.json")


def _fit(study: Study, backbone: str, folder: Path) -> None:
    device = study.device
    loaded = load_backbone(backbone, device.dtype, device.device)
    sample = Sample(loaded, feature_cache())
    fitted = fit_reward_models(sample)
    save_reward_models(fitted, folder)
    write_json(folder / "judge_pairs.json", rival_pairs(sample, fitted["heads"]))


def feature_cache() -> Path:
    """The folder of features that all runs share."""
    return kept("cache") / "features"


class Scorer:
    """The run's selector and judge, loaded once; embedded ones share one pass over the answers.

    keep_features: cache hidden states on disk; a timed run computes them anew.
    """

    def __init__(self, study: Study, roles: Sequence[str] = ROLES,
                 keep_features: bool = True) -> None:
        fit_rewards(study, says=False)
        self.said = False
        names = {role: getattr(study.profile.rewards.scoring, role) for role in roles}
        heads = [role for role, name in names.items() if name == "embedded"]
        self.embedded = embedded_models(study, heads, feature_cache() if keep_features else None)
        self.others = {role: remote_reward_model(study, name) for role, name in names.items()
                       if name != "embedded"}

    def score(self, conversations: Sequence[Conversation]) -> dict[str, list[float | None]]:
        """Scores by role, in the order of the conversations; None where one could not be scored."""
        for model in self.embedded:
            self._say_lacking(model, conversations)
        scores = score_with_all(self.embedded, conversations) if self.embedded else {}
        return scores | {role: model.score(conversations) for role, model in self.others.items()}

    def reads_reference(self, role: str) -> bool:
        """Whether this reward model compares answers with references, so it cannot score those."""
        return any(model.head.reads_reference for model in self.embedded if model.name == role)

    def _say_lacking(self, model: EmbeddedRewardModel,
                     conversations: Sequence[Conversation]) -> None:
        """Say once which prompts a judge reads without a reference."""
        lacking = {question_of(conversations[index]) for index in model.lacking(conversations)}
        if lacking and not self.said:
            asked = len({question_of(each) for each in conversations})
            say(f"no reference answer to {len(lacking)} of {asked} prompts; there the "
                f"{model.name} is the head fitted without one, which agrees less with a reader")
            self.said = True

    def lacks_all(self, conversations: Sequence[Conversation]) -> bool:
        """Whether no cache has a score of any of these, so that scoring takes its full time."""
        distinct = len({str(deciding(turns)) for turns in conversations})
        return all(len(model.lacking(conversations)) == distinct for model in self.others.values())


def embedded_models(study: Study, roles: Sequence[str],
                    cache: Path | None) -> list[EmbeddedRewardModel]:
    """The run's fitted heads on their backbone; cache: a folder for features, or None."""
    if not roles:
        return []
    device, backbone = study.device, resolve_model(study.profile.rewards.backbone)
    loaded, folder = load_backbone(backbone, device.dtype, device.device), study.path("rewards")
    references, without = written_answers(study), load_head(folder, WITHOUT)
    heads = {role: load_head(folder, role) for role in roles}
    return [EmbeddedRewardModel(role, head, loaded, cache,
                                *((references, without) if head.reads_reference else ()))
            for role, head in heads.items()]


def written_answers(study: Study) -> References:
    """The references of the sample's prompts and of the run's own held-out prompts."""
    own = study.path("data", "heldout.parquet")
    return {**sample_references(),
            **references_of(load_part(study, "heldout") if own.exists() else ())}


def conversations_of(rows: Sequence[Row]) -> list[Conversation]:
    """Every candidate of response rows that was given as a conversation, row by row."""
    return [conversation(row["prompt"], candidate["text"], is_cut_off(candidate))
            for row in rows for candidate in row["candidates"] if not is_missing(candidate)]


def score_rows(scorer: Scorer, rows: Sequence[Row]) -> list[Row]:
    """Response rows with the `rewards` of every candidate, None for one that is missing."""
    scores = scorer.score(conversations_of(rows))
    by_candidate, none = iter([dict(zip(scores, values, strict=True)) for values in zip(
        *scores.values(), strict=True)]), dict.fromkeys(scores)
    return [{**row, "candidates": [
        {**candidate, "rewards": none if is_missing(candidate) else next(by_candidate)}
        for candidate in row["candidates"]]} for row in rows]


def timed_scores(scorer: Scorer, rows: list[Row]) -> tuple[list[Row], float | None]:
    """Rows with `rewards`, and the seconds of scoring; None if a cache had some of the scores."""
    if not rows:  # of a process without a share
        return [], 0.0
    uncached, started = scorer.lacks_all(conversations_of(rows)), time.perf_counter()
    rows = score_rows(scorer, rows)
    return rows, time.perf_counter() - started if uncached else None


def accuracy_rows(reports: Mapping[str, Any]) -> list[Row]:
    """Reward models' accuracies on unseen pairs: all pairs, a gap of one or more, equal lengths."""
    rows = []
    for model, tested in reports.items():
        for name, report in tested.items():
            clear = next(row for row in report["by_gap"] if row["gap_at_least"] == 1)
            for pairs, found in (("all", report["all"]), ("a gap of 1 or more", clear),
                                 ("of about equal length", report["length_matched"])):
                rows.append({"model": model, "tested_on": name, "pairs": pairs,
                             "accuracy": found["value"]} | found)
    return rows
