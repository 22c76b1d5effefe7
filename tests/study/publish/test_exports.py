"""A run's exports and model cards, the spread over seeds, and systems that need scores alone."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lib.data.parquet import write_parquet
from lib.inference.systems import RANDOM, System
from lib.runtime.files import read_json, read_jsonl, write_json, write_jsonl
from lib.runtime.manifest import outputs_hash
from lib.study.policies import (
    load_pools,
    load_systems,
    picks_of,
    system_names,
    systems_by_pool,
)
from lib.study.pools.pool import Pool
from lib.study.publish.exports import export_lines, main, write_exports
from lib.study.run import Study, open_study
from lib.study.seeds import known_seeds, seed_runs, summarise_seeds
from lib.study.stages.results import compare_pools, compare_systems, comparisons, confounds

Row = dict[str, Any]


def rows_of(pool: Pool, prompts: int, seed: int = 0) -> list[Row]:
    """A made-up pool; scores depend on its name and the seed."""
    strength = len(pool.name) + seed

    def candidate(prompt: int, place: int) -> Row:
        score = (prompt * 7 + place * 3 + strength * 5) % 11
        return {"text": f"{pool.name} {prompt} {place}", "tokens": 3, "finish": "stop",
                "logprob": -1.0,
                "rewards": {"selector": float(score), "judge": float((score * 3) % 7)}}
    return [{"id": f"p{prompt}", "prompt": f"Question {prompt}?", "source": "advice",
             "candidates": [candidate(prompt, place) for place in range(pool.samples)]}
            for prompt in range(prompts)]


def filled(study: Study, prompts: int = 6) -> Study:
    """A run folder with pools, picks and what the stages before would have left."""
    picks, seed = {}, study.profile.seed
    for pool, systems in systems_by_pool(study.profile).items():
        rows = rows_of(pool, min(pool.prompts, prompts), seed)
        write_jsonl(pool.file(study.path("responses", "pools")), rows)
        picks |= {system.name: picks_of(system, rows, seed) for system in systems}
    write_json(study.path("responses", "picks.json"), picks)
    write_json(study.path("responses", "manifest.json"), {"outputs": {"seed": study.profile.seed}})
    pairs = [{"id": "x", "prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello",
              "rejected": "No", "score_chosen": 5.0, "score_rejected": 2.0, "source": "s"}]
    write_parquet(pairs, study.path("data", "preferences.parquet"))
    for stage in ("sft", "dpo"):
        write_json(study.path(stage, "manifest.json"), {
            "parameters": {"beta": 0.1}, "inputs": {"data": "abc"}, "outputs": {"model": "123"},
            "seed": 0, "git": {"commit": "1234", "dirty": False}, "environment": {}})
    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return filled(open_study("smoke", str(tmp_path / "run")))


def results_of(study: Study) -> Row:
    return compare_pools(study, load_pools(study)) | compare_systems(study, load_systems(study)) | {
        "confounds": confounds(study), "text_metrics": {}}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Row:
    """What is said of these made-up answers, whatever the folder and the model's name."""
    return results_of(filled(open_study("smoke", str(tmp_path_factory.mktemp("compared") / "run"))))


@pytest.fixture
def results(compared: Row) -> Row:
    return deepcopy(compared)


def test_every_export_is_written_in_its_tools_format(study: Study, results: Row) -> None:
    paths = write_exports(study, results)
    assert all(path.exists() for path in paths)
    exports = study.path("exports")
    leaderboard = read_jsonl(exports / "leaderboard" / "dpo.jsonl")
    assert [row["id"] for row in leaderboard] == [f"p{number}" for number in range(6)]
    assert read_json(exports / "alpaca_eval" / "dpo.json")[0]["generator"] == "dpo"
    comparator = read_json(exports / "llm_comparator" / "dpo+bon4@0.6_over_sft.json")
    assert [model["name"] for model in comparator["models"]] == ["dpo+bon4@0.6", "sft"]
    assert pq.read_table(exports / "preferences.parquet").column_names[:3] == [
        "prompt", "chosen", "rejected"]
    lines = export_lines(study.folder, paths)
    assert {line["folder"] for line in lines} >= {"exports/leaderboard", "dpo/model"}


def test_a_card_beside_a_model_leaves_the_stages_hash_as_it_was(study: Study,
                                                                    results: Row) -> None:
    before = outputs_hash(study.path("dpo"))
    write_exports(study, results)
    card = study.path("dpo", "model", "README.md").read_text(encoding="utf-8")
    assert outputs_hash(study.path("dpo")) == before
    assert "Manifest hash (SHA-256)" in card
    assert "dpo over sft" in card


def test_a_card_of_what_was_trained_from_gemma_names_its_terms(tmp_path: Path,
                                                                   results: Row) -> None:
    for name, terms in (("gemma", "license: gemma"), ("smoke", "license: apache-2.0")):
        study = filled(open_study("smoke", str(tmp_path / name), {"model.name": name}))
        write_exports(study, results)
        assert terms in study.path("sft", "model", "README.md").read_text(encoding="utf-8")


def test_nothing_is_pushed_unless_a_finished_model_is_named(
        study: Study, results: Row, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    pushed = []
    monkeypatch.setattr("lib.analysis.exports.formats.push_to_hub",
                        lambda *given, **options: pushed.append((*given, options)) or "address")
    assert main([str(study.folder), "--push", "dpo", "me/mine"]) == 2
    assert "has no model with a card" in capsys.readouterr().err
    write_exports(study, results)
    assert pushed == []
    assert main([str(study.folder), "--push", "dpo", "me/mine"]) == 0
    assert pushed == [(study.folder / "dpo" / "model", "me/mine", {"private": True})]


def test_one_prompt_is_enough_for_every_comparison(tmp_path: Path) -> None:
    alone = filled(open_study("smoke", str(tmp_path / "one")), prompts=1)
    results = results_of(alone)
    assert {row["n"] for row in results["win_rates"]} == {1}
    write_json(tmp_path / "results.json", results)  # refuses NaN


def test_answers_that_could_not_be_scored_are_missing_everywhere(study: Study) -> None:
    systems = load_systems(study)
    for rows in systems.values():
        for candidate in rows[0]["candidates"]:
            candidate["rewards"] = {"selector": None, "judge": None}
    results = compare_systems(study, systems)
    assert {row["missing"] for row in results["single_draws"]} == {1}


def test_the_round_robin_has_every_pair_and_the_family_is_among_them(study: Study,
                                                                     results: Row) -> None:
    systems = [name for name in system_names(study.profile) if System.parse(name).rule != RANDOM]
    pairs = {frozenset((row["a"], row["b"])) for row in results["round_robin"]}
    assert len(pairs) == len(systems) * (len(systems) - 1) // 2
    assert {frozenset(found[:2]) for found in comparisons(study)} <= pairs


def test_no_comparison_of_the_family_is_true_by_construction(results: Row) -> None:
    systems = {name for row in results["family"] for name in (row["a"], row["b"])}
    assert all(System.parse(name).rule != RANDOM for name in systems)
    assert all(row["why"] for row in results["family"])
    assert not any(row["by_construction"] for row in results["win_rates"]
                   if row["judge"] == "judge")
    assert all(System.parse(row["a"]).rule == RANDOM for row in results["controls"])
    assert [(row["a"], row["b"]) for row in results["single_draws"]] == [
        (row["a"], row["b"]) for row in results["win_rates"]]
    assert set(results["exploratory"]) & {"win_rates", "single_draws", "controls"} == set()


def test_the_base_model_is_reranked_where_the_profile_says_so(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path), {"evaluation.rerank_base": True,
                                                "evaluation.base_candidates": 6})
    assert {"base+bon4@0.6", "base+random4@0.6"} <= set(system_names(study.profile))
    assert ("base+bon4@0.6", "base") in [found[:2] for found in comparisons(study)]
    assert "base+bon4@0.6" not in system_names(open_study("smoke", str(tmp_path)).profile)


def test_the_spread_over_seeds_stands_beside_the_first_seeds_own_interval(study: Study,
                                                                          results: Row) -> None:
    studies = seed_runs(study, 3)
    for one in studies[1:]:
        filled(one)
    write_json(study.path("results.json"), results)
    assert known_seeds(study) == []
    summarise_seeds(study, studies)
    row = known_seeds(study)[0]
    assert len(row["per_seed"]) == 3
    assert row["first"] == pytest.approx(row["per_seed"][0])
    assert row["first_low"] <= row["first"] <= row["first_high"]


@pytest.mark.parametrize("changed", [0, 1])
def test_a_spread_of_other_answers_is_not_shown(study: Study, results: Row, changed: int) -> None:
    studies = seed_runs(study, 2)
    filled(studies[1])
    write_json(study.path("results.json"), results)
    summarise_seeds(study, studies)
    assert known_seeds(study)
    one = studies[changed]
    filled(replace(one, profile=replace(one.profile, seed=9)))
    assert known_seeds(study) == []
