"""The score cache: asked once, shared by processes, mended when damaged."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lib import ROOT
from lib.inference import rewards
from lib.inference.rewards import Conversation
from lib.inference.rewards.cache import CachedRewardModel, ScoreCache, cached
from lib.inference.rewards.score_results import ScoreResult
from lib.runtime.files import FileError


def conversation(answer: str) -> Conversation:
    return [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]


class LengthModel:
    """Scores an answer by its length; `long` is unscorable, `busy` fails in passing."""

    name = identity = "length"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stream(self, conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
        for index, messages in reversed(list(enumerate(conversations))):
            text = messages[-1]["content"]
            self.asked.append(text)
            if text == "long":
                yield index, ScoreResult(None, "too long")
            elif text == "busy":
                yield index, ScoreResult(None, "busy", transient=True)
            else:
                yield index, ScoreResult(float(len(text)), reply=f"reward:{len(text)}")

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        return [dict(self.stream([each]))[0].score for each in conversations]


def test_a_conversation_is_asked_for_once(tmp_path: Path) -> None:
    inner = LengthModel()
    model = cached(inner, ScoreCache(tmp_path / "scores.sqlite"))
    answers = [conversation(text) for text in ("a", "bbb", "a", "")]
    assert model.score(answers) == [1.0, 3.0, 1.0, 0.0]
    assert sorted(inner.asked) == ["", "a", "bbb"]
    reopened = cached(inner, ScoreCache(tmp_path / "scores.sqlite"))
    assert reopened.score(answers) == [1.0, 3.0, 1.0, 0.0]
    assert len(inner.asked) == 3


def test_what_is_unscorable_is_remembered_with_its_reason_and_a_passing_failure_is_not(
        tmp_path: Path) -> None:
    inner = LengthModel()
    model = cached(inner, ScoreCache(tmp_path / "scores.sqlite"))
    both = [conversation("long"), conversation("busy")]
    assert model.score(both) == model.score(both) == [None, None]
    assert inner.asked.count("long") == 1
    assert inner.asked.count("busy") == 2
    assert dict(model.stream(both))[0].reason == "too long"


def test_the_reply_is_kept_word_for_word(tmp_path: Path) -> None:
    model = cached(LengthModel(), ScoreCache(tmp_path / "scores.sqlite"))
    model.score([conversation("four")])
    assert dict(model.stream([conversation("four")]))[0] == ScoreResult(4.0, reply="reward:4")


def test_a_model_that_does_not_stream_is_cached_too_and_its_none_is_asked_again(
        tmp_path: Path) -> None:
    class Plain:
        name = "plain"
        asked = 0

        def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
            self.asked += len(conversations)
            return [None if each[-1]["content"] == "?" else 0.5 for each in conversations]

    plain = Plain()
    model = cached(plain, ScoreCache(tmp_path / "scores.sqlite"))
    answers = [conversation(text) for text in [*map(str, range(100)), "?"]]
    assert model.score(answers) == model.score(answers) == [0.5] * 100 + [None]
    assert plain.asked == 102


def test_two_models_and_two_prompts_do_not_share_scores(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "scores.sqlite")
    inner = LengthModel()
    cached(inner, cache).score([conversation("a")])
    CachedRewardModel("length", "other weights", cache, inner).score([conversation("a")])
    cached(inner, cache).score([[{"role": "user", "content": "?"}, *conversation("a")[1:]]])
    assert len(inner.asked) == 3
    assert (cache.count("length"), cache.count("other weights")) == (2, 1)


def test_what_came_before_a_crash_is_kept(tmp_path: Path) -> None:
    class Crashing(LengthModel):
        def stream(self,
                   conversations: Sequence[Conversation]) -> Iterator[tuple[int, ScoreResult]]:
            for done, found in enumerate(super().stream(conversations)):
                if done == 2:
                    raise RuntimeError("crash")
                yield found

    answers = [conversation("x" * length) for length in range(5)]
    with pytest.raises(RuntimeError, match="crash"):
        cached(Crashing(), ScoreCache(tmp_path / "scores.sqlite")).score(answers)
    inner = LengthModel()
    model = cached(inner, ScoreCache(tmp_path / "scores.sqlite"))
    assert len(model.lacking(answers)) == 3
    assert model.score(answers) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(inner.asked) == 3


@pytest.mark.parametrize("damage", [b"this is no database " * 500, None])
def test_a_damaged_file_is_put_aside_and_a_new_one_begun(
        damage: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.sqlite"
    cache = ScoreCache(path)
    cached(LengthModel(), cache).score([conversation("x" * n) for n in range(300)])
    cache.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cache.connection.close()
    content = path.read_bytes()
    path.write_bytes(damage or content[:4096] + b"\xff" * 4096 + content[8192:])
    again = cached(LengthModel(), ScoreCache(path))
    assert again.score([conversation("abc")]) == [3.0]
    assert (tmp_path / "scores.sqlite.damaged-1").exists()
    assert "renamed to scores.sqlite.damaged-1" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot open the score cache"):
        ScoreCache(tmp_path / "file" / "scores.sqlite")


WRITER = """
import sys
from lib.inference.rewards.cache import ScoreCache
from lib.inference.rewards.score_results import ScoreResult
cache = ScoreCache(sys.argv[1])
for number in range(200):
    cache.put(f"key {number}", "model", ScoreResult(float(number)))
"""


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT,
                                stderr=subprocess.PIPE) for _ in range(3)]
    errors = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    cache = ScoreCache(path)
    assert cache.count("model") == 200
    assert cache.get("key 7") == ScoreResult(7.0)


def test_a_cut_off_answer_has_a_score_of_its_own(tmp_path: Path) -> None:
    both = [rewards.conversation("p", "a", cut_off=cut) for cut in (False, True)]
    model = cached(LengthModel(), ScoreCache(tmp_path / "scores.sqlite"))
    model.score(both[:1])
    assert model.lacking(both) == both[1:]
