"""A run takes another's scored pools where it would make the same ones, and says so."""

from pathlib import Path
from typing import Any

import pytest

from lib.runtime.files import Row, read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.manifest import hash_outputs
from lib.study.pools import sampled
from lib.study.pools.pool import Pool
from lib.study.pools.sampled import scored_pools
from lib.study.pools.taken import made_on, take_pools
from lib.study.run import Study, open_study

PROMPTS = [{"id": f"p{number}", "prompt": f"question {number}", "source": "test"}
           for number in range(4)]
BASE, SFT, DPO = (Pool(policy, 0.6, 2) for policy in ("base", "sft", "dpo"))
INPUTS = {"data": "d", "sft": "s", "dpo": "of beta 0.1", "rewards": "r"}


def rows_of(pool: Pool) -> list[Row]:
    return [row | {"candidates": [
        {"text": f"{pool.name} {place}", "tokens": 3, "finish": "stop",
         "rewards": {"selector": 0.5, "judge": None}} for place in range(pool.samples)]}
        for row in PROMPTS]


def made_from(**changes: Any) -> Row:
    parameters = {"seed": 0, "model": {"name": "smoke"}, "rewards": {"judge": "embedded"},
                  "sampling": {"temperature": 0.6, "samples": 4, "top_k": 50, "rows": 64}}
    inputs = INPUTS | changes.pop("inputs", {})
    return {"parameters": parameters | changes, "inputs": inputs}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A run that has sampled and scored three pools."""
    study = open_study("smoke", str(tmp_path / "source"))
    folder = study.path("responses")
    for pool in (BASE, SFT, DPO):
        write_jsonl(pool.file(folder / "pools"), rows_of(pool))
    write_json(folder / "manifest.json", made_from() | made_on(study) | {
        "outputs": hash_outputs(folder, [folder / "pools"])})
    return study.folder


def next_run(tmp_path: Path, source: Path, **changes: Any) -> Study:
    """A run at the start of its stage `responses`, with another DPO."""
    study = open_study("smoke", str(tmp_path / "next"), from_run=str(source))
    inputs = {"dpo": "of beta 0.2"} | changes.pop("inputs", {})
    write_json(study.path("responses", "begun.json"), made_from(inputs=inputs, **changes))
    return study


def taken(study: Study, pools: tuple[Pool, ...] = (BASE, SFT, DPO)) -> set[str]:
    return {pool.name for pool in take_pools(study, "responses", dict.fromkeys(pools, PROMPTS))}


def test_base_and_sft_are_taken_with_their_scores_where_dpo_alone_differs(
        tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = next_run(tmp_path, source)
    assert taken(study) == {"base@0.6", "sft@0.6"}
    assert read_jsonl(BASE.file(study.path("responses", "pools"))) == rows_of(BASE)
    assert (f"responses: base@0.6, sft@0.6 taken with scores from {source}; sampled here: dpo@0.6"
            in capsys.readouterr().out)


@pytest.mark.parametrize(("changes", "kept"), [
    ({"inputs": {"sft": "another"}}, {"base@0.6"}),
    ({"inputs": {"rewards": "another"}}, set()),
    ({"inputs": {"data": "another"}}, set()),
    ({"seed": 1}, set()),
    ({"model": {"name": "another"}}, set()),
    ({"rewards": {"judge": "another"}}, set()),
    ({"sampling": {"temperature": 0.6, "samples": 4, "top_k": None, "rows": 64}}, set()),
    ({"sampling": {"temperature": 0.9, "samples": 8, "top_k": 50, "rows": 8}},
     {"base@0.6", "sft@0.6"})])
def test_nothing_is_taken_whose_policy_prompts_sampling_or_judges_differ(
        tmp_path: Path, source: Path, changes: Row, kept: set[str]) -> None:
    assert taken(next_run(tmp_path, source, **changes)) == kept


@pytest.mark.parametrize("pools", [(Pool("base", 0.6, 3),), (Pool("base", 0.7, 2),)])
def test_a_pool_of_other_size_or_temperature_is_sampled(
        tmp_path: Path, source: Path, pools: tuple[Pool, ...]) -> None:
    assert taken(next_run(tmp_path, source), pools) == set()


def test_other_prompts_or_another_order_are_sampled(tmp_path: Path, source: Path) -> None:
    study = next_run(tmp_path, source)
    for prompts in (PROMPTS[:3], PROMPTS[::-1], [PROMPTS[0] | {"prompt": "?"}, *PROMPTS[1:]]):
        assert take_pools(study, "responses", {BASE: prompts}) == {}


def test_a_file_that_was_edited_since_and_one_that_is_gone_are_not_taken(
        tmp_path: Path, source: Path) -> None:
    write_jsonl(BASE.file(source / "responses" / "pools"), rows_of(BASE)[::-1])
    SFT.file(source / "responses" / "pools").unlink()
    assert taken(next_run(tmp_path, source)) == set()


def test_answers_of_another_device_or_precision_are_not_taken(
        tmp_path: Path, source: Path) -> None:
    path = source / "responses" / "manifest.json"
    for other in ({"device": "cuda"}, {"dtype": "bfloat16"}):
        manifest = read_json(path)
        write_json(path, manifest | other)
        assert taken(next_run(tmp_path, source)) == set()
        write_json(path, manifest)


def test_nothing_is_taken_by_force_or_without_a_run_to_take_from(
        tmp_path: Path, source: Path) -> None:
    study = next_run(tmp_path, source)
    assert taken(Study(study.profile, study.folder, True, source)) == set()
    assert taken(Study(study.profile, study.folder)) == set()
    (source / "responses" / "manifest.json").unlink()
    assert taken(study) == set()


def test_a_taken_pool_is_neither_sampled_nor_scored_nor_timed_and_order_stays(
        tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, asked = next_run(tmp_path, source), []

    def sample(_: Study, pools: list[Pool], prompts: list[Row], folder: Path) -> None:
        for pool in [pool for pool in pools if not pool.file(folder).exists()]:
            asked.append(pool.name)
            write_jsonl(pool.file(folder), rows_of(pool))

    def score(_: Study, pools: list[Pool], folder: Path) -> Any:
        asked.extend(pool.name for pool in pools)
        yield from ((pool, read_jsonl(pool.file(folder)), {"scoring_seconds": 1}) for pool in pools)

    monkeypatch.setattr(sampled, "sample_pools", sample)
    monkeypatch.setattr(sampled, "score_pools", score)
    found = list(scored_pools(study, [BASE, DPO, SFT], PROMPTS, "responses"))
    assert asked == ["dpo@0.6", "dpo@0.6"]
    assert [(pool, rows) for pool, rows, _ in found] == [
        (pool, rows_of(pool)) for pool in (BASE, DPO, SFT)]
    assert [cost["scoring_seconds"] for _, _, cost in found] == [None, 1, None]
    assert found[0][2]["sampling_seconds"] is None
