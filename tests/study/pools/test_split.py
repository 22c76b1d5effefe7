"""Sampling and scoring split over processes give the rows of one process."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lib.inference.partial_file import share_of
from lib.runtime.files import read_json, read_jsonl
from lib.study.pools import split as pool_shares
from lib.study.pools.pool import Pool
from lib.study.pools.sampled import sample_pools, score_pools
from lib.study.run import Study, open_study
from lib.study.stages.rewards import fit_rewards
from lib.study.workers.processes import use_processes
from lib.training.processes import Processes

PROMPTS = [{"id": f"p{number}", "prompt": "question " * (1 + number % 3), "source": "test"}
           for number in range(5)]
POOLS = [Pool("base", 0.6, 2), Pool("base", 1.0, 3)]


def small_study(folder: Path) -> Study:
    return open_study("smoke", str(folder), {"sampling.max_new_tokens": 6})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return small_study(tmp_path / "run")


@pytest.fixture(scope="module")
def rows_of_one(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict]]:
    """The scored rows of both pools, by one process."""
    folder = tmp_path_factory.mktemp("alone")
    study = small_study(folder / "run")
    sample_pools(study, POOLS, PROMPTS, folder / "pools")
    return [rows for _, rows, _ in score_pools(study, POOLS, folder / "pools")]


@pytest.fixture
def alone(rows_of_one: list[list[dict]]) -> list[list[dict]]:
    return deepcopy(rows_of_one)


def in_turn(count: int) -> Callable[..., list[Any]]:
    """`run_on_workers` whose processes are calls in this one, one after the other."""
    def split(study: Study, work: str, options: Mapping[str, Any], *_: str) -> list[Any]:
        function, options = getattr(pool_shares, work.partition(":")[2]), _through_json(options)
        return _through_json([function(study, options, Processes(rank, count))
                              for rank in range(count)])
    return split


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the number of processes, played in turn."""
    def use(count: int) -> None:
        monkeypatch.setenv("STUDY_PROCESSES", str(count))
        monkeypatch.setattr(pool_shares, "run_on_workers", in_turn(count))
    return use


def assert_same(ours: list[dict], theirs: list[dict]) -> None:
    """Equal rows; scores to float32's rounding, because other answers stand beside them."""
    for row, other in zip(ours, theirs, strict=True):
        rewards, expected = ([candidate.pop("rewards") for candidate in one["candidates"]]
                             for one in _through_json([row, other]))
        for one, another in zip(rewards, expected, strict=True):
            assert one == pytest.approx(another, rel=1e-4, abs=1e-5)
        assert row == {**other, "candidates": row["candidates"]}
        for one, another in zip(row["candidates"], other["candidates"], strict=True):
            assert one["text"] == another["text"]
            assert one["logprob"] == pytest.approx(another["logprob"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 7])
def test_any_number_of_processes_gives_the_rows_of_one(
        study: Study, alone: list[list[dict]], many: Callable[[int], None], tmp_path: Path,
        count: int) -> None:
    many(count)
    sample_pools(study, POOLS, PROMPTS, tmp_path / "split")
    assert {path.name for path in (tmp_path / "split").iterdir()} == {
        f"{pool.name}{kind}" for pool in POOLS for kind in (".jsonl", ".seconds.json")}
    for (_, rows, costs), theirs in zip(score_pools(study, POOLS, tmp_path / "split"), alone,
                                        strict=True):
        assert_same(rows, theirs)
        assert costs["sampling_seconds"] > 0
        assert costs["scoring_seconds"] > 0


@pytest.mark.slow
def test_what_killed_processes_left_is_gone_on_with_by_another_number(
        study: Study, alone: list[list[dict]], many: Callable[[int], None], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "split"
    many(2)
    options = {"folder": str(folder), "wanted": [
        {"pool": {"policy": "base", "temperature": 0.6, "samples": 2}, "prompts": PROMPTS}]}
    pool_shares.sample_share(study, options, Processes(0, 2))  # rank 1 never came
    share = share_of(folder / "base@0.6.jsonl", 0)
    done = {row["id"] for row in read_jsonl(f"{share}.partial.jsonl")[1:]}
    assert 0 < len(done) < len(PROMPTS)
    monkeypatch.setenv("STUDY_PROCESSES", "1")
    asked = []
    from lib.study.pools import sampled as pools
    sample_to_file = pools.sample_to_file
    monkeypatch.setattr(pools, "sample_to_file", lambda *a, **k: asked.append(1) or
                        sample_to_file(*a, **k))
    sample_pools(study, POOLS[:1], PROMPTS, folder)
    rows = read_jsonl(folder / "base@0.6.jsonl")
    assert asked == [1]
    assert [[c["text"] for c in row["candidates"]] for row in rows] == [
        [c["text"] for c in row["candidates"]] for row in alone[0]]
    assert read_json(folder / "base@0.6.seconds.json") == {"seconds": None}
    assert not share.with_name(f"{share.name}.partial.jsonl").exists()


@pytest.mark.slow
def test_processes_started_by_accelerate_give_the_file_of_one(
        study: Study, alone: list[list[dict]], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STUDY_PROCESSES", "STUDY_SHARDED", "STUDY_ACCELERATE_CONFIG"):
        monkeypatch.setenv(name, "")
    fit_rewards(study)  # as notebook 04 does before it samples
    use_processes(2, False, "")
    sample_pools(study, POOLS[:1], PROMPTS, tmp_path / "split")
    (_, rows, _), = score_pools(study, POOLS[:1], tmp_path / "split")
    assert_same(rows, alone[0])
    assert not study.path("shares").exists()
