"""Arms that learn from their own answers: what each trains on, and all of them on smoke."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lib import ROOT
from lib.modeling.smoke import smoke_model
from lib.runtime.files import Row, read_json, read_jsonl, write_jsonl
from lib.study.beyond import online, stage
from lib.study.beyond.arm import ArmError
from lib.study.beyond.catalogue import ARMS
from lib.study.profiles import load_profile
from lib.study.run import Study
from lib.training.on_policy.train import replayed
from lib.training.settings import DPOSettings

VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
ARMS_HERE = [name for name, arm in ARMS.items() if ".online:" in arm.function]


def candidate(text: str, score: float | None, finish: str = "stop") -> Row:
    return {"text": text, "tokens": len(text), "token_ids": [5] * len(text), "finish": finish,
            "rewards": {"selector": score}}


def answered(scores: list[float | None], number: int = 0, **fields: str) -> Row:
    return {"id": f"p{number}", "prompt": f"Why {number}?", "source": "s",
            "candidates": [candidate("word " * (place + 1), score, **fields)
                           for place, score in enumerate(scores)]}


@pytest.fixture
def run() -> Any:
    """What the arms need of an `ArmRun`, without a study."""
    profile = SimpleNamespace(seed=0, data=SimpleNamespace(max_pair_length=256),
                              beyond=SimpleNamespace(samples=4), dpo=DPOSettings(batch_size=16))
    return SimpleNamespace(name="mine", sft=smoke_model(), study=SimpleNamespace(profile=profile))


def texts(rows: list[Row]) -> list[str]:
    return [row["messages"][-1]["content"] for row in rows]


def test_raft_takes_the_best_of_each_prompt_and_not_the_best_of_all(run: Any) -> None:
    rewards = VECTORS["4_raft"]["in"]["rewards"]
    rows = [answered(scores, number) for number, scores in enumerate(rewards)]
    best = VECTORS["4_raft"]["out"]["top_per_prompt"]
    assert texts(online.picked_conversations(run, rows, "best")) == [
        rows[number]["candidates"][place]["text"] for number, place in enumerate(best)]
    overall = sorted(np.ndindex(3, 4), key=lambda cell: -rewards[cell[0]][cell[1]])[:3]
    assert [list(cell) for cell in overall] == VECTORS["4_raft"]["out"]["top3_overall"]
    assert {cell[0] for cell in overall} == {1, 2}  # the first prompt would teach nothing


def test_raft_imitates_no_answer_that_was_cut_off_or_not_scored(run: Any) -> None:
    rows = [answered([9.0, 1.0]), answered([None, 2.0], 1), answered([None, None], 2)]
    rows[0]["candidates"][0]["finish"] = "length"
    assert texts(online.picked_conversations(run, rows, "best")) == ["word word ", "word word "]


def test_the_control_of_raft_picks_the_same_random_answer_again(run: Any) -> None:
    rows = [answered([0.0, 1.0, 2.0, 3.0], number) for number in range(40)]
    picked = texts(online.picked_conversations(run, rows, "random"))
    assert picked == texts(online.picked_conversations(run, rows, "random"))
    assert len(set(picked)) == 4


def test_dice_scores_by_log_ratios_at_equal_lengths_and_leaves_cut_off_answers_out(
        run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    vector = VECTORS["3_dice"]["in"]
    ratios = np.subtract(vector["logp_policy"], vector["logp_ref"])
    rows = [answered([0.0] * 4, number) for number in range(3)]
    for row, lengths in zip(rows, vector["lengths"], strict=True):
        for answer, length in zip(row["candidates"], lengths, strict=True):
            answer["tokens"] = length
    monkeypatch.setattr(online, "log_ratios", lambda *_: ratios.astype(float))
    found = online.implicitly_scored(run, rows, Path())
    best = [int(np.argmax([answer["score"] for answer in row["answers"]])) for row in found]
    assert best == VECTORS["3_dice"]["out"]["at_full"]["chosen"]
    said = capsys.readouterr().out
    assert "with 0.042 nats a token" in said
    assert "are +10.0 tokens longer than the worst, +100.0 without" in said
    for answer in rows[0]["candidates"][1:]:
        answer["finish"] = "length"
    rows[1]["candidates"][2]["text"] = "a"
    kept = online.implicitly_scored(run, rows, Path())
    assert [(row["id"], len(row["answers"])) for row in kept] == [("p1", 3), ("p2", 4)]
    with pytest.raises(ArmError, match="mine has no prompt with two finished answers"):
        online.implicitly_scored(run, [answered([0.0] * 4, number, finish="length")
                                       for number in range(3)], Path())


def capture(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    seen: list[tuple] = []

    def keeping(*given: Any) -> Path:
        seen.append(given)
        return Path("trained")
    monkeypatch.setattr(online, "policy_gradient", keeping)
    return seen


def test_bond_gives_the_best_answer_the_forward_part_and_all_the_backward_scores(
        run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = capture(monkeypatch)
    run.first_answers = lambda: [answered([0.1, 0.4, 0.2, 0.3]), answered([1.0], 1),
                                 answered([7.0, 5.0, None], 2)]
    online.bond(run, backward=0.25)
    _, answers, settings, start = seen[0]
    assert settings.kl_weight == 0.25
    assert start == run.sft
    logs = 0.25 * 3 * np.log([0.25, 1, 0.5, 0.75, 1, 0.5])
    assert [answer["score"] for answer in answers] == pytest.approx(logs.tolist())
    assert [answer["sft_weight"] for answer in answers] == [0, 3, 0, 0, 1.5, 0]


def test_policy_gradient_arms_read_the_sampled_tokens_and_as_many_answers_as_there_are_in_pairs(
        run: Any) -> None:
    rows = online.scored_answers([answered([1.0, None], finish="length")])
    assert [row["id"] for row in rows] == ["p0/0", "p0/1"]
    assert rows[0]["answer_ids"] == [5] * 5
    assert [row["score"] for row in rows] == [1.0, None]
    assert all(row["cut_off"] for row in rows)
    settings = online.policy_settings(run, kl_weight=0.5)
    assert (settings.batch_size, settings.kl_weight) == (32, 0.5)


def test_replay_is_a_round_older_and_has_its_own_policys_log_probabilities(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "old_logps_training.jsonl",
                [{"key": "now"}, {"logps": {"a": [-1.0], "b": [-2.0]}}])
    write_jsonl(tmp_path / "old_logps_training-1.jsonl",
                [{"key": "before"}, {"logps": {"c": [-3.0]}}])  # of another job
    rows = [{"id": "b"}, {"id": "c"}, {"id": "a", "age": 1}]
    assert replayed(rows, tmp_path) == [{"id": "b", "age": 1, "old_logps": [-2.0]},
                                        {"id": "a", "age": 2, "old_logps": [-1.0]}]
    again = {"id": "b", "age": 1, "old_logps": [-9.0]}  # its own policy's, not this job's start
    assert replayed([again], tmp_path) == [{"id": "b", "age": 2, "old_logps": [-9.0]}]


@pytest.mark.parametrize("rows", [
    [answered([1.0, 1.0])], [answered([None, None])], [answered([1.0])],
    [answered([1.0, 2.0], finish="length")]], ids=["ties", "unscored", "alone", "cut off"])
def test_without_a_best_and_a_worst_there_is_one_sentence(run: Any, rows: list[Row]) -> None:
    with pytest.raises(ArmError, match="mine has nothing to train on: .*equal scores, none, or no"):
        online.best_against_worst(run, rows)


@pytest.fixture(scope="module")
def study(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = shutil.copytree(smoke_run, tmp_path_factory.mktemp("online") / "run")
    shutil.rmtree(folder / "arms", ignore_errors=True)
    shutil.rmtree(folder / "beyond", ignore_errors=True)
    return Study(load_profile("smoke", {"beyond.arms": ["offline_dpo", *ARMS_HERE],
                                        "evaluation.resamples": 200}), folder)


@pytest.fixture(scope="module")
def found(study: Study) -> Row:
    return stage.run_arms(study)


@pytest.mark.slow
def test_every_arm_runs_on_the_smoke_study_within_its_budget(study: Study, found: Row) -> None:
    assert found["failed"] == {}
    rows = {row["arm"]: row for row in found["arms"]}
    assert set(rows) == {"offline_dpo", *ARMS_HERE}
    budget = study.profile.beyond
    for name, row in rows.items():
        assert 0.3 * budget.trained_tokens < row["trained_tokens"] < 2 * budget.trained_tokens, name
        assert row["kl"] > 0, name
        answers = read_json(study.path("arms", name, "costs.json"))["answers"]
        assert answers == (0 if name == "offline_dpo" else 8 * budget.samples), name


@pytest.mark.slow
def test_rloo_replays_the_first_rounds_answers_in_the_second(study: Study, found: Row) -> None:
    second = study.path("arms", "rloo", "round1")
    read = {key for line in (second / "reference_training.jsonl").read_text().splitlines()[1:]
            for key in json.loads(line)["logps"]}
    assert len(read) == 8 * study.profile.beyond.samples  # 4 prompts of this round, 4 of the last
    row = next(row for row in read_jsonl(second / "metrics.jsonl") if row["split"] == "train")
    assert row["kl/old"] > 0
    assert row["effective_samples"] < 1


@pytest.mark.slow
def test_an_arm_whose_model_never_ends_an_answer_says_so_and_the_others_go_on(
        study: Study, found: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = replace(study, folder=shutil.copytree(study.folder, study.folder.parent / "ends"),
                       profile=replace(study.profile, beyond=replace(
                           study.profile.beyond, arms=("raft",), cut_off_answers="left_out")))
    for name in ("arms", "beyond"):
        shutil.rmtree(left_out.folder / name)
    without_ends(monkeypatch)
    again = stage.run_arms(left_out)
    assert "raft has nothing to train on" in again["failed"]["raft"]
    assert "raise sampling.max_new_tokens" in again["failed"]["raft"]


def without_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.study.beyond import arm
    sample: Callable = arm.sample_scored

    def cut(*given: Any) -> list[Row]:
        return [{**row, "candidates": [{**one, "finish": "length"} for one in row["candidates"]]}
                for row in sample(*given)]
    monkeypatch.setattr(arm, "sample_scored", cut)
