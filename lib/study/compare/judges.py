"""Which judge scored a run's answers, by its hash, and one judge for the answers of two runs.

The scores of two fits of a judge have nothing in common but the judge's name. Where two runs have
different judges, one of them scores all answers again, or nothing is compared.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lib.inference.rewards import Conversation, RewardModel
from lib.inference.rewards.cache import ScoreCache, score_key
from lib.inference.rewards.heads.head import load_head
from lib.runtime.files import Row, shown
from lib.runtime.manifest import manifest_of, outputs_hash
from lib.study.reward_models.heads import WITHOUT
from lib.study.reward_models.references import references_of
from lib.study.reward_models.remote import remote_reward_model
from lib.study.run import Study, StudyError
from lib.study.stages.data import load_part
from lib.study.stages.rewards import conversations_of, embedded_models, feature_cache

EMBEDDED = "embedded"
CACHE = ("rewards", "scores.sqlite")


def judge_identity(study: Study, role: str, rows: Sequence[Row], scratch: Path) -> str:
    """What scored the run's answers in a role: the hash of heads, or a remote model's identity.

    rows: scored answers, by which a remote model is found in a copy (in `scratch`) of the run's
    score cache. Raises StudyError where the model that scored them is not known any more.
    """
    name = getattr(study.profile.rewards, role)
    found = _fitted(study, role) if name == EMBEDDED else _remote(study, role, rows, scratch)
    if found is None:
        raise StudyError(f"{shown(study.folder)} does not tell any more which {role} scored its "
                         "answers, because its folder rewards was lost or made again since")
    return found


def _fitted(study: Study, role: str) -> str | None:
    """The heads' digests, if these are the heads that scored the answers."""
    folder = study.path("rewards")
    used = manifest_of(study.path("responses"))["inputs"].get("rewards")
    if used is None or used != outputs_hash(folder):
        return None
    head = load_head(folder, role)
    heads = [head, *([load_head(folder, WITHOUT)] if head.reads_reference else [])]
    return f"{EMBEDDED}:{'+'.join(each.digest for each in heads)}"


def _remote(study: Study, role: str, rows: Sequence[Row], scratch: Path) -> str | None:
    """The identity under which the cache holds the very score of one of the answers."""
    if not study.path(*CACHE).exists():
        return None
    cache = ScoreCache(_copied_cache(study, scratch))
    return next((identity for turns, score in _scored(rows, role) for identity in cache.models()
                 if (kept := cache.get(score_key(identity, turns))) and kept.score == score), None)


def _scored(rows: Iterable[Row], role: str) -> Iterator[tuple[Conversation, float]]:
    for row in rows:
        for turns, candidate in zip(conversations_of([row]), row["candidates"], strict=True):
            if (score := candidate["rewards"].get(role)) is not None:
                yield turns, score


def _copied_cache(study: Study, scratch: Path) -> Path:
    """A copy of the run's score cache, with what an open or killed process has only in its log."""
    source, target = study.path(*CACHE), scratch.joinpath(*CACHE)
    target.parent.mkdir(parents=True, exist_ok=True)
    for end in ("", "-wal"):
        if (part := source.with_name(source.name + end)).exists():
            shutil.copyfile(part, target.with_name(target.name + end))
    return target


def other_references(a: Study, b: Study, prompts: Sequence[str]) -> list[str]:
    """The prompts for which the runs have different written answers, which a judge may read."""
    first, second = (references_of(load_part(study, "heldout")) for study in (a, b))
    return [prompt for prompt in prompts if first.get(prompt) != second.get(prompt)]


def judge_model(study: Study, role: str, scratch: Path) -> RewardModel:
    """The run's reward model as the run left it; it keeps remote scores in `scratch`.

    Raises StudyError where the model cannot read here.
    """
    name = getattr(study.profile.rewards, role)
    try:
        if name == EMBEDDED:
            return embedded_models(study, [role], feature_cache())[0]
        if study.path(*CACHE).exists():
            _copied_cache(study, scratch)
        return remote_reward_model(replace(study, folder=scratch), name)
    except ValueError as error:
        raise StudyError(f"the {role} of {shown(study.folder)} cannot score here: {error}, "
                         "or take the other run's judge") from None


def scored_again(rows: Sequence[Row], role: str, model: RewardModel) -> list[Row]:
    """The rows with every candidate's score in a role replaced by the model's."""
    scores = iter(model.score(conversations_of(rows)))
    return [row | {"candidates": [
        each | {"rewards": each.get("rewards", {}) | {role: next(scores)}}
        for each in row["candidates"]]} for row in rows]
