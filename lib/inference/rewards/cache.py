"""Scores on disk (SQLite): no score is computed or paid for twice, and a scored run needs no API.

The key is the SHA-256 of the model's identity and the conversation. A score is kept with the API's
reply word for word, a conversation without a score with the reason. Transient failures (a time-out,
a busy server) are not kept. Several processes may share one file.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lib.inference.rewards import Conversation, RewardModel, deciding
from lib.inference.rewards.score_results import ScoreResult, StreamingRewardModel
from lib.runtime.files import FileError, sha256_of_value
from lib.runtime.progress import say

BUSY_SECONDS = 30.0
CONVERSATIONS_AT_ONCE = 64  # for a model that does not stream; a kill loses at most so many
TABLE = """CREATE TABLE IF NOT EXISTS scores (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, score REAL, reason TEXT NOT NULL,
    reply TEXT NOT NULL)"""


class ScoreCache:
    """The SQLite file; a damaged one is renamed with a message, and a new one is made."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = _open(self.path)
        except (OSError, sqlite3.OperationalError) as error:
            raise FileError(f"cannot open the score cache {path}: {error}; choose a writable "
                            "folder") from error
        except sqlite3.DatabaseError as error:
            _put_aside(self.path, error)
            self.connection = _open(self.path)

    def get(self, key: str) -> ScoreResult | None:
        """The result under a key, or None."""
        found = self.connection.execute(
            "SELECT score, reason, reply FROM scores WHERE key = ?", (key,)).fetchone()
        return ScoreResult(*found) if found else None

    def put(self, key: str, model: str, result: ScoreResult) -> None:
        """Keep a result unless it is transient; the first one under a key stays."""
        if not result.transient:
            self.connection.execute(
                "INSERT OR IGNORE INTO scores VALUES (?, ?, ?, ?, ?)",
                (key, model, result.score, result.reason, result.reply))

    def models(self) -> list[str]:
        """The identities of the models that have results."""
        return [model for (model,) in self.connection.execute("SELECT DISTINCT model FROM scores")]

    def count(self, model: str) -> int:
        """The number of scores of one model, by its identity; reasons for none do not count."""
        return self.connection.execute("SELECT count(score) FROM scores WHERE model = ?",
                                       (model,)).fetchone()[0]


@dataclass(frozen=True)
class CachedRewardModel(StreamingRewardModel):
    """Calls `model` only for scores that `cache` lacks; `cached` makes one."""

    name: str
    identity: str
    cache: ScoreCache
    model: RewardModel

    def lacking(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """The conversations that the cache has no score of, each once."""
        gaps = {score_key(self.identity, each): each for each in conversations}
        return [each for key, each in gaps.items() if self.cache.get(key) is None]

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result): cached ones first, then the others as the model yields them.

        Every result is on disk before it is yielded; equal conversations are scored once.
        """
        gaps: dict[str, list[int]] = {}
        for index, conversation in enumerate(conversations):
            key = score_key(self.identity, conversation)
            result = self.cache.get(key)
            if result is None:
                gaps.setdefault(key, []).append(index)
            else:
                yield index, result
        keys, first = list(gaps), [conversations[places[0]] for places in gaps.values()]
        for number, result in _streaming(self.model)(first):
            self.cache.put(keys[number], self.identity, result)
            yield from ((index, result) for index in gaps[keys[number]])


def cached(model: RewardModel, cache: ScoreCache) -> CachedRewardModel:
    """The model behind the cache, keyed by its `identity`, or by its name if it has none."""
    return CachedRewardModel(model.name, getattr(model, "identity", model.name), cache, model)


def score_key(identity: str, conversation: Conversation) -> str:
    """SHA-256 of a model's identity and of what decides a conversation's score, in hex."""
    return sha256_of_value([identity, deciding(conversation)])


def _streaming(model: RewardModel) -> Callable[[Sequence[Conversation]],
                                               Iterator[tuple[int, ScoreResult]]]:
    """The model's `stream`, or one made of its `score` in small batches."""
    if hasattr(model, "stream"):
        return model.stream

    def stream(conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        """Yield (index, result), some conversations at a time."""
        for begin in range(0, len(conversations), CONVERSATIONS_AT_ONCE):
            scores = model.score(conversations[begin:begin + CONVERSATIONS_AT_ONCE])
            for index, score in enumerate(scores, start=begin):
                reason = "no reason given" if score is None else ""  # it may be transient
                yield index, ScoreResult(score, reason, transient=score is None)
    return stream


def _open(path: Path) -> sqlite3.Connection:
    """Open or create, in write-ahead mode, so that readers and one writer do not wait."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None,
                                 check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(TABLE)
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise sqlite3.DatabaseError(result)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _put_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    for journal in ("-wal", "-shm"):
        path.with_name(path.name + journal).unlink(missing_ok=True)
    say(f"the score cache {path} is damaged ({error}); renamed to {aside.name}: its scores will be "
        "computed again")
