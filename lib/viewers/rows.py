"""Responses of several systems joined by prompt: what every viewer reads.

Comes in: response rows per system (`responses/<system>.jsonl`) and, if wanted, the held-out rows
with references and constraints. Goes out: one frozen `Collection`. Systems that drew from one pool
(`sft`, `sft+bon4@0.6`, `sft+random4@0.6`) share it, so that a page carries each text once.
All text is made visible on the way in (`visible.py`). Who won is decided by `web/data/rows.js`, by
the rule of `lib.analysis.comparisons.scoreboard`: equal stripped texts tie, else the higher score
wins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lib.analysis.texts.constraints import check_constraints
from lib.analysis.texts.repetition import longest_repeated_run
from lib.analysis.texts.variety import distinct_n
from lib.data.schema import is_missing
from lib.runtime.files import Row, sha256_of_value
from lib.viewers.visible import visible

Systems = Mapping[str, Sequence[Row]]
ScoreRange = Mapping[str, tuple[float, float]]  # model -> (lowest, highest) score
SHORTEST_LOOP = 12  # words; less said twice in a row is emphasis


class ViewerError(ValueError):
    """Input that no viewer can show, said in one sentence."""


@dataclass(frozen=True)
class ShownAnswer:
    """One candidate answer; `rewards` has a score or None for every model of the collection.

    `text_id` is equal for equal stripped texts of a prompt.
    """

    text: str
    text_id: int
    tokens: int
    finish: str
    rewards: Mapping[str, float | None]
    loop: int
    checks: Mapping[str, bool]


@dataclass(frozen=True)
class ShownPool:
    """Answers drawn for one prompt and which of them each system chose.

    `picked` names the systems that had a score to choose by, or nothing to choose from.
    """

    answers: tuple[ShownAnswer, ...]
    chosen: Mapping[str, int]
    picked: frozenset[str]
    diversity: float | None  # distinct word pairs over all word pairs, 0..1; None without any


@dataclass(frozen=True)
class Prompt:
    """One prompt with the pools of all systems that answered it."""

    id: str
    text: str
    source: str
    reference: str | None
    pools: tuple[ShownPool, ...]

    def pool(self, system: str) -> ShownPool | None:
        """The pool that `system` chose from, None when it did not answer this prompt."""
        return next((pool for pool in self.pools if system in pool.chosen), None)

    def answer(self, system: str) -> ShownAnswer | None:
        """The answer that `system` gave."""
        pool = self.pool(system)
        return pool.answers[pool.chosen[system]] if pool else None


@dataclass(frozen=True)
class Collection:
    """All prompts of a run; `judges` come first in `models`, the rest selected answers."""

    prompts: tuple[Prompt, ...]
    systems: tuple[str, ...]
    models: tuple[str, ...]
    judges: tuple[str, ...]
    reach: ScoreRange

    @property
    def selectors(self) -> tuple[str, ...]:
        """Models that are not judges."""
        return self.models[len(self.judges):]

    @property
    def key(self) -> str:
        """Hash of these systems' very answers: votes belong to texts, not to names."""
        texts = [[visible(prompt.id), *(
            found.text if (found := prompt.answer(system)) else None for system in self.systems)]
            for prompt in self.prompts]
        return sha256_of_value([self.systems, texts])[:12]


def join(
    systems: Systems | Collection, heldout: Iterable[Row] = (), judges: Sequence[str] = (),
) -> Collection:
    """Join systems by prompt id, in the order in which prompts first appear.

    `judges` name the reward models that judge and did not select. Raises ViewerError for no rows, a
    prompt that occurs twice in one system, a `chosen` that is no candidate, or an unknown judge.
    A Collection is handed back as it is, so that several panels can share one.
    """
    if isinstance(systems, Collection):
        return systems
    by_id = {system: _by_id(system, rows) for system, rows in systems.items()}
    ids = list(dict.fromkeys(id for rows in by_id.values() for id in rows))
    if not ids:
        raise ViewerError("there are no responses to show; generate answers first (notebook 04)")
    models = _models(by_id, judges)
    known = {row["id"]: row for row in heldout}
    prompts = tuple(
        _prompt({name: rows[id] for name, rows in by_id.items() if id in rows},
                known.get(id, {}), models)
        for id in ids
    )
    return Collection(prompts, tuple(systems), models, tuple(judges), _reach(prompts, models))


def _by_id(system: str, rows: Sequence[Row]) -> dict[str, Row]:
    by_id: dict[str, Row] = {}
    for row in rows:
        if row["id"] in by_id:
            raise ViewerError(f"{system} answers prompt {row['id']!r} twice; keep one of the lines")
        if not 0 <= row["chosen"] < len(row["candidates"]):
            raise ViewerError(
                f"{system}, prompt {row['id']!r}: chosen is {row['chosen']}, expected an index of "
                f"its {len(row['candidates'])} candidates"
            )
        by_id[row["id"]] = row
    return by_id


def _models(by_id: Mapping[str, Mapping[str, Row]], judges: Sequence[str]) -> tuple[str, ...]:
    found = dict.fromkeys(
        model
        for rows in by_id.values()
        for row in rows.values()
        for candidate in row["candidates"]
        for model in candidate.get("rewards") or {}
    )
    for judge in judges:
        if judge not in found:
            raise ViewerError(f"judge {judge!r} scored nothing; scores are by "
                              f"{', '.join(found) or 'no model'}")
    return (*judges, *(model for model in found if model not in judges))


def _reach(prompts: Sequence[Prompt], models: Sequence[str]) -> ScoreRange:
    answers = [answer for prompt in prompts for pool in prompt.pools for answer in pool.answers]
    scores = {
        model: [score for answer in answers if (score := answer.rewards[model]) is not None]
        for model in models
    }
    return {model: (min(found), max(found)) for model, found in scores.items() if found}


def _prompt(rows: Mapping[str, Row], heldout: Row, models: Sequence[str]) -> Prompt:
    """One prompt; pools are shared by systems whose candidates have the same texts."""
    pools: dict[tuple[str, ...], dict[str, int]] = {}
    candidates: dict[tuple[str, ...], Sequence[Row]] = {}
    for system, row in rows.items():
        texts = tuple(candidate["text"] for candidate in row["candidates"])
        pools.setdefault(texts, {})[system] = row["chosen"]
        candidates[texts] = _merged(candidates.get(texts), row["candidates"])
    texts_of = (text.strip() for texts in pools for text in texts)
    ids = {text: number for number, text in enumerate(dict.fromkeys(texts_of))}
    first = next(iter(rows.values()))
    reference = heldout.get("reference")
    return Prompt(
        id=str(first["id"]),
        text=visible(first["prompt"]),
        source=visible(first.get("source") or heldout.get("source") or ""),
        reference=visible(reference) if reference else None,
        pools=tuple(
            ShownPool(
                tuple(_answer(row, ids, heldout, models) for row in candidates[texts]), chosen,
                frozenset(system for system in chosen if _picked(rows[system])),
                distinct_n(texts, 2))
            for texts, chosen in pools.items()
        ),
    )


def _merged(old: Sequence[Row] | None, new: Sequence[Row]) -> Sequence[Row]:
    """A pool with the scores of both copies: some systems are judged on their choice only."""
    if old is None:
        return new
    return [
        {**one, "rewards": _scores(one) | _scores(other)}
        for one, other in zip(old, new, strict=True)
    ]


def _scores(candidate: Row) -> dict[str, float]:
    rewards = candidate.get("rewards") or {}
    return {model: score for model, score in rewards.items()
            if score is not None and math.isfinite(score)}


def _picked(row: Row) -> bool:
    """Whether the answer was picked: alone, or with a score among its candidates to go by."""
    if is_missing(row["candidates"][row["chosen"]]):
        return False
    return len(row["candidates"]) == 1 or any(map(_scores, row["candidates"]))


def _answer(row: Row, ids: Mapping[str, int], heldout: Row, models: Sequence[str]) -> ShownAnswer:
    rewards, run = _scores(row), longest_repeated_run(row["text"])
    return ShownAnswer(
        text=visible(f"(no answer: {row.get('reason')})" if is_missing(row) else row["text"]),
        text_id=ids[row["text"].strip()],
        tokens=row["tokens"],
        finish=row["finish"],
        rewards={model: rewards.get(model) for model in models},
        loop=run if run >= SHORTEST_LOOP else 0,
        checks={} if is_missing(row) else _checks(row["text"], heldout),
    )


def _checks(text: str, heldout: Row) -> dict[str, bool]:
    if not heldout.get("instruction_id_list"):
        return {}
    check = check_constraints(text, heldout)
    return {name.replace(":", ": ").replace("_", " "): kept
            for name, kept in zip(check.instructions, check.strict, strict=True)
            if kept is not None}
