"""A pool holds the candidates; the systems of a run are picks from it."""

from pathlib import Path

import pytest

from lib.analysis.comparisons.scoreboard import scoreboard
from lib.inference.best_of_n import random_of_n
from lib.inference.systems import System
from lib.runtime.files import Row, read_jsonl
from lib.study.policies import (
    candidates_of,
    load_policy,
    load_systems,
    picked_rows,
    picks_of,
    planned_pools,
    reranked_pools,
    system_names,
)
from lib.study.pools.pool import Pool
from lib.study.profiles import load_profile
from lib.study.run import StudyError, open_study
from lib.study.stages.responses import write_responses
from tests.study.publish.test_exports import filled

POOL = Pool("dpo", 0.6, 3)
BEST, CONTROL = POOL.picked_by("bon", 3), POOL.picked_by("random", 3)


def row(prompt: str, scores: list[float | None]) -> Row:
    return {"id": prompt, "prompt": "?", "source": "test", "candidates": [
        {"text": f"{prompt} {place}", "tokens": 1, "token_ids": [place], "finish": "stop",
         "rewards": {"selector": score, "judge": 1.0}} for place, score in enumerate(scores)]}


@pytest.mark.parametrize(("policy", "notebook"), [("sft", "02_sft"), ("dpo", "03_dpo")])
def test_a_policy_that_was_not_trained_names_the_notebook_that_trains_it(
        policy: str, notebook: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=f"{policy} is not finished; run notebook {notebook}"):
        load_policy(open_study("smoke", str(tmp_path)), policy)


def test_best_of_n_is_the_selectors_argmax_and_its_control_a_seeded_draw() -> None:
    rows = [row("a", [0.1, 0.9, 0.4]), row("b", [None, -2.0, -1.0])]
    assert picks_of(BEST, rows, seed=0) == {"a": 1, "b": 2}
    assert picks_of(CONTROL, rows, seed=7) == {
        name: random_of_n(3, name, 7) for name in ("a", "b")}


def test_every_rule_picks_a_single_answer_from_the_first_n_and_its_name_says_which() -> None:
    rows = [row("a", [0.1, 0.9, 0.4]), row("b", [None, -2.0, -1.0])]
    for one, logprobs in zip(rows, ([-3.0, -400.0, -5.0], [-1.0, -2.0, -300.0]), strict=True):
        for candidate, logprob in zip(one["candidates"], logprobs, strict=True):
            candidate["logprob"] = logprob
    names = ["dpo+klbon3@0.6", "dpo+mbr3_beta0@0.6", "dpo+klbon2_beta0@0.6", "dpo+softbon2@0.6"]
    picks = [picks_of(System.parse(name), rows, seed=0) for name in names]
    assert picks[:3] == [{"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1}]
    assert picks[3]["b"] == 1
    [first, _] = picked_rows(System.parse(names[3]), rows, picks[3])
    assert len(first["candidates"]) == 2
    silent = [row("a", [0.1, 0.9])]
    assert picks_of(System.parse("dpo+klbon2@0.6"), silent, seed=0) == {"a": None}


def test_a_prompt_without_any_score_has_no_pick_and_is_counted_by_no_judge() -> None:
    rows = [row("a", [None] * 3), row("b", [1.0, 2.0, 0.0])]
    picks = picks_of(BEST, rows, seed=0)
    assert picks == {"a": None, "b": 1}
    chosen = picked_rows(BEST, rows, picks)
    board = scoreboard({BEST.name: chosen}, ["judge"])
    assert board.scores[0, 0].tolist() == pytest.approx([float("nan"), 1], nan_ok=True)
    assert board.texts[0].tolist() == [None, "b 1"]


def test_best_of_n_picks_among_a_pools_first_n_and_a_single_answer_is_none_of_them(
        tmp_path: Path) -> None:
    study = filled(open_study("smoke", str(tmp_path)))
    systems = load_systems(study)
    assert list(systems) == system_names(study.profile)
    best, control = systems["dpo+bon4@0.6"], systems["dpo+random4@0.6"]
    for picked, other, plain in zip(best, control, systems["dpo"], strict=True):
        assert picked["candidates"][0] is other["candidates"][0]
        assert len(plain["candidates"]) == 1
        assert plain["candidates"][0] not in picked["candidates"]


def test_lines_for_other_readers_leave_token_ids_to_the_pool(tmp_path: Path) -> None:
    rows = [row("a", [0.1, 0.9, 0.4])]
    write_responses(tmp_path / "x.jsonl", picked_rows(BEST, rows, {"a": 1}))
    [written] = read_jsonl(tmp_path / "x.jsonl")
    assert written["chosen"] == 1
    assert all("token_ids" not in candidate for candidate in written["candidates"])
    assert "token_ids" in rows[0]["candidates"][0]


def test_a_profile_alone_tells_its_pools_and_systems() -> None:
    profile = load_profile("smoke", {"evaluation.temperatures": [0.6, 1.0]})
    assert [pool.name for pool in planned_pools(profile)] == ["base@0.6", "sft@0.6", "dpo@0.6",
                                                              "dpo@1"]
    assert [pool.policy for pool in reranked_pools(profile)] == ["sft", "dpo", "dpo"]
    assert system_names(profile) == [
        "base", "sft", "dpo", "sft+bon4@0.6", "sft+random4@0.6", "dpo+bon4@0.6",
        "dpo+random4@0.6", "dpo+bon4@1", "dpo+random4@1"]
    assert [candidates_of(profile, policy) for policy in ("base", "dpo")] == [4, 6]
    assert [pool.prompts for pool in planned_pools(profile)] == [16, 16, 16, 8]


def test_the_single_draw_of_best_of_n_is_the_best_of_the_first_n() -> None:
    best, rows = POOL.picked_by("bon", 2), [row("a", [0.1, 0.4, 0.9])]
    picks = picks_of(best, rows, seed=0)
    assert picks == {"a": 1}
    [picked] = picked_rows(best, rows, picks)
    assert len(picked["candidates"]) == 2
    assert {picks_of(POOL.picked_by("random", 2), rows, seed)["a"] for seed in range(9)} == {0, 1}


def test_a_smaller_pool_has_a_balanced_part_of_the_prompts(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path))
    prompts = [{"id": str(place), "source": "abcd"[place % 4]} for place in range(16)]
    chosen = Pool("dpo", 1.0, 6, 8).chosen_prompts(study, prompts)
    assert [sum(row["source"] == source for row in chosen) for source in "abcd"] == [2] * 4
    assert Pool("dpo", 0.6, 6).chosen_prompts(study, prompts) == prompts
