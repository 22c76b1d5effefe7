"""Pools of candidates of a study: from a server as from here, timed, and gone on with."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from lib.inference.api.transport import ApiStoppedError
from lib.runtime.files import read_json, read_jsonl
from lib.study.policies import load_policy
from lib.study.pools import sampled
from lib.study.pools.pool import Pool
from lib.study.pools.sampled import sample_pools, score_pools, server_of
from lib.study.profiles import ProfileError, load_profile
from lib.study.run import Study, open_study
from tests.inference.fake_server import FakeServer, choice, good

PROMPTS = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
           for number in range(4)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fake = FakeServer()
    yield fake
    fake.http.shutdown()
    fake.http.server_close()


def study_on(tmp_path: Path, **settings: object) -> Study:
    return open_study("smoke", str(tmp_path / "run"),
                      {f"sampling.{key}": value for key, value in settings.items()})


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "load_policy", lambda *_: pytest.fail("a model was loaded"))


@pytest.mark.usefixtures("no_model")
def test_a_study_samples_from_the_server_that_its_profile_names(
        server: FakeServer, tmp_path: Path) -> None:
    study = study_on(tmp_path, server=server.settings.base_url, rows=8)
    pool = Pool("base", 0.6, 2)
    sample_pools(study, [pool], PROMPTS, tmp_path)
    assert {(call["model"], call["n"], call["temperature"]) for call in server.asked} == {
        ("base", 2, 0.6)}
    rows = read_jsonl(tmp_path / "base@0.6.jsonl")
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]
    (_, scored, cost), = score_pools(study, [pool], tmp_path)
    assert all(isinstance(candidate["rewards"][role], float) for row in scored
               for candidate in row["candidates"] for role in ("selector", "judge"))
    assert scored == read_jsonl(tmp_path / "base@0.6.jsonl")  # the pool itself holds its scores
    assert cost["tokens"] == sum(c["tokens"] for row in rows for c in row["candidates"])
    assert cost["sampling_seconds"] > 0
    assert cost["scoring_seconds"] > 0


@pytest.mark.usefixtures("no_model")
def test_what_a_server_filtered_has_no_score_and_the_rest_has(
        server: FakeServer, tmp_path: Path) -> None:
    study = study_on(tmp_path, server=server.settings.base_url, rows=8)
    filtered = json.dumps({"choices": [choice("kept"), choice("cut", "content_filter")]})
    server.behave = lambda asked, call: (
        (200, {}, filtered) if asked["messages"][0]["content"] == "question 2" else good(asked))
    pool = Pool("base", 0.6, 2)
    sample_pools(study, [pool], PROMPTS, tmp_path)
    (_, scored, cost), = score_pools(study, [pool], tmp_path)
    missing = [[candidate["rewards"] == {"selector": None, "judge": None}
                for candidate in row["candidates"]] for row in scored]
    assert missing == [[False, False], [False, False], [False, True], [False, False]]
    assert cost["tokens"] is None


def test_each_policy_may_have_a_server_of_its_own(server: FakeServer, tmp_path: Path) -> None:
    address = server.settings.base_url.replace("127.0.0.1", "{policy}.localhost")
    study = study_on(tmp_path, server=address)
    assert server_of(study.profile.sampling, "sft").base_url.startswith("http://sft.localhost:")


def test_an_address_that_is_none_is_refused_when_the_profile_is_built() -> None:
    with pytest.raises(ProfileError, match=r"sampling.server is 'localhost:8000'; use text, or "
                                           r"null \(an address such as"):
        load_profile("laptop", {"sampling.server": "localhost:8000"})


def test_a_pool_that_is_there_is_not_sampled_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_on(tmp_path, max_new_tokens=4)
    pool = Pool("base", 1.0, 2)
    sample_pools(study, [pool], PROMPTS, tmp_path)
    before = (tmp_path / "base@1.jsonl").read_bytes()
    monkeypatch.setattr(sampled, "load_policy", lambda *_: pytest.fail("a model was loaded"))
    sample_pools(study, [pool], PROMPTS, tmp_path)
    assert (tmp_path / "base@1.jsonl").read_bytes() == before


@pytest.mark.usefixtures("no_model")
def test_a_pool_that_was_cut_short_goes_on_and_counts_as_not_timed(
        server: FakeServer, tmp_path: Path) -> None:
    study = study_on(tmp_path, server=server.settings.base_url, rows=1)
    server.behave = lambda asked, call: (
        (401, {}, "no") if asked["messages"][0]["content"] == "question 3" else good(asked))
    pool = Pool("base", 0.6, 2)
    with pytest.raises(ApiStoppedError):
        sample_pools(study, [pool], PROMPTS, tmp_path)
    before, server.behave = len(server.asked), lambda asked, call: good(asked)
    sample_pools(study, [pool], PROMPTS, tmp_path)
    assert len(server.asked) == before + 1
    assert read_json(tmp_path / "base@0.6.seconds.json") == {"seconds": None}


def test_policies_of_equal_weights_answer_independently(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_on(tmp_path, max_new_tokens=1, temperature=1.0)
    model = load_policy(study, "base")
    monkeypatch.setattr(sampled, "load_policy", lambda *_: model)
    monkeypatch.setattr(sampled, "policy_key", lambda *_: "equal weights")
    pools = [Pool("sft", 1.0, 64), Pool("dpo", 1.0, 64), Pool("dpo", 0.9, 64)]
    sample_pools(study, pools, PROMPTS, tmp_path)
    sft, dpo, colder = (first_tokens(pool.file(tmp_path)) for pool in pools)
    assert same_index(sft, dpo) <= most_by_chance(sft, dpo)
    assert same_index(dpo, colder) <= most_by_chance(dpo, colder)
    assert same_index(sft, sft) > most_by_chance(sft, sft)  # the check sees a shared stream


def first_tokens(path: Path) -> np.ndarray:
    """The first token of every candidate, [prompts, candidates]."""
    return np.array([[candidate["token_ids"][0] for candidate in row["candidates"]]
                     for row in read_jsonl(path)])


def same_index(one: np.ndarray, other: np.ndarray) -> int:
    return int((one == other).sum())


def most_by_chance(one: np.ndarray, other: np.ndarray) -> float:
    """Agreements that independent answers exceed once in 10,000 times, from other indices."""
    rate = np.mean([one == np.roll(other, shift, axis=1) for shift in range(1, 64)])
    return binom.ppf(0.9999, one.size, rate)
