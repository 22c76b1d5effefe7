"""The judge compares with a reference, the selector cannot; both are fitted on disjoint sets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.analysis.judges.audit import READER
from lib.inference.rewards import conversation
from lib.inference.rewards.heads.embedded import EmbeddedRewardModel, score_with_all
from lib.inference.rewards.heads.features import Backbone, load_backbone
from lib.inference.rewards.heads.head import load_head
from lib.modeling.smoke import smoke_model
from lib.runtime.files import write_jsonl
from lib.study.reward_models import choices
from lib.study.reward_models.heads import (
    DEFAULTS,
    PLAIN,
    RECIPES,
    WITHOUT,
    Recipe,
    Sample,
    fit_recipe,
    fit_reward_models,
    save_reward_models,
)
from lib.study.reward_models.references import sample_references
from lib.study.reward_models.rivals import RIVALS, by_prompt, rival_pairs
from lib.study.run import open_study
from lib.study.stages import rewards
from lib.study.stages.audit import reference_results

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(smoke_model(tmp_path_factory.mktemp("model") / "smoke"), torch.float32)


@pytest.fixture(scope="module")
def sample(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Answers that hold 1 to 9 words of their reference, and are as good; the rest is filler."""
    folder, draw = tmp_path_factory.mktemp("sample"), np.random.default_rng(0)
    reference = " ".join(WORDS)
    for name in ("on_policy", "judged", "audit"):
        rows = [{"id": f"{name} {n}", "prompt": f"{name} {n}", "source": "s", "answers": [
            {"text": " ".join([*draw.permutation(WORDS)[:score], *["some"] * (9 - score)]),
             "score": float(score)} for score in draw.permutation(np.arange(1, 10))[:4]]}
            for n in range(24)]
        if name == "judged":
            write_jsonl(folder / "judged_fresh.jsonl", [
                {"id": "j", "prompt": rows[0]["prompt"], "source": "s", "answers": [
                    {"text": "some", "score": 1.0}, {"text": "grove heron", "score": 2.0}]}])
        known = {"judged": {"reference": reference}}.get(name, {})
        write_jsonl(folder / f"{name}.jsonl", [row | known for row in rows])
        written = {"audit": ("heldout", {"reference": reference}), "on_policy": (
            "preferences", {"chosen": [{"role": "assistant", "content": reference}]})}.get(name)
        if written:
            write_jsonl(folder / f"{written[0]}.jsonl",
                        [{"prompt": row["prompt"]} | written[1] for row in rows])
    return Sample(backbone, folder / "cache", folder)


@pytest.fixture(scope="module")
def fitted(sample: Sample) -> dict:
    return fit_reward_models(sample)


def test_one_call_fits_the_heads_on_disjoint_sets_and_tests_them_on_the_rest(
        fitted: dict, tmp_path: Path) -> None:
    heads, reports = fitted["heads"], fitted["reports"]
    assert {name: head.fitted_on for name, head in heads.items()} == {
        "selector": "on_policy", "judge": "judged and fresh", WITHOUT: "judged and fresh"}
    assert {name: list(tested) for name, tested in reports.items()} == {
        "selector": ["judged", "audit"], "judge": ["on_policy", "audit"],
        WITHOUT: ["on_policy", "audit"]}
    assert reports["judge"]["audit"]["all"]["value"] > 0.95
    save_reward_models(fitted, tmp_path)
    assert {name: load_head(tmp_path, name).digest for name in heads} == {
        name: head.digest for name, head in heads.items()}


def test_the_judge_compares_with_the_reference_and_the_selector_does_not(
        backbone: Backbone, fitted: dict) -> None:
    good, bad = " ".join(WORDS), "some some some some some some some some some"
    answers = [conversation("What grows here?", text) for text in (good, bad)]
    scores = {}
    for reference in (good, bad):
        models = [EmbeddedRewardModel(name, fitted["heads"][name], backbone,
                                      references={"What grows here?": reference})
                  for name in ("selector", "judge")]
        scores[reference] = score_with_all(models, answers)
    assert scores[good]["selector"] == scores[bad]["selector"]
    lead = {reference: seen["judge"][0] - seen["judge"][1] for reference, seen in scores.items()}
    assert lead[good] > lead[bad] + 1


def test_a_prompt_without_a_reference_is_scored_by_the_head_fitted_without_one(
        backbone: Backbone, fitted: dict) -> None:
    both = EmbeddedRewardModel("judge", fitted["heads"]["judge"], backbone,
                               references={"known": "amber birch"},
                               without_reference=fitted["heads"][WITHOUT])
    asked = [conversation("known", "amber"), conversation("unknown", "amber")]
    alone = EmbeddedRewardModel("judge", fitted["heads"][WITHOUT], backbone).score(asked)
    scores = both.score(asked)
    assert both.lacking(asked) == [1]
    assert scores[1] == pytest.approx(alone[1], abs=1e-4)
    assert abs(scores[0] - alone[0]) > 0.01


def test_without_that_head_an_answer_without_a_reference_is_missing(
        backbone: Backbone, fitted: dict) -> None:
    judge = EmbeddedRewardModel("judge", fitted["heads"]["judge"], backbone)
    result = dict(judge.stream([conversation("unknown", "amber")]))[0]
    assert result.score is None
    assert "without the reference" in result.reason


def test_each_prompt_of_the_sample_has_a_written_answer() -> None:
    assert len(sample_references()) == 840  # 320 judged, 200 held out, 320 preferences


def test_rivals_are_compared_pair_by_pair_on_the_audit(sample: Sample, fitted: dict) -> None:
    rows = rival_pairs(sample, fitted["heads"])
    judges = ["selector", "judge", *RIVALS]
    assert [(row["judge_a"], row["judge_b"]) for row in rows] == [
        (a, b) for place, a in enumerate(judges) for b in judges[place + 1:]]
    assert READER not in judges
    assert {(row["prompts"], row["n_candidates"]) for row in rows} == {(24, 3)}
    assert next(row["reader_a"] for row in rows if row["judge_a"] == "judge") > 0.9


def test_halves_of_a_set_share_no_prompt(sample: Sample) -> None:
    whole = fit_recipe(sample, Recipe("judged", PLAIN), "whole")
    halves = [fit_recipe(sample, RIVALS[name], name) for name in ("first half", "second half")]
    assert sum(half.prompts for half in halves) == whole.prompts
    assert sum(half.pairs for half in halves) == whole.pairs


def test_scores_by_prompt_are_missing_where_a_prompt_has_fewer_answers(sample: Sample) -> None:
    answers = replace(sample.answers["audit"], rows=np.array([0, 0, 1, 1, 1]))
    assert np.array_equal(by_prompt(np.arange(5.0), answers),
                          [[0, 1, np.nan], [2, 3, 4]], equal_nan=True)


@pytest.fixture
def scorer(backbone: Backbone, fitted: dict, monkeypatch: pytest.MonkeyPatch,
           tmp_path: Path) -> rewards.Scorer:
    """The scorer of a run whose judge knows the reference of one prompt."""
    heads = fitted["heads"]
    models = [EmbeddedRewardModel("selector", heads["selector"], backbone),
              EmbeddedRewardModel("judge", heads["judge"], backbone,
                                  references={"known": "amber"}, without_reference=heads[WITHOUT])]
    monkeypatch.setattr(rewards, "fit_rewards", lambda study, says: {})
    monkeypatch.setattr(rewards, "embedded_models", lambda study, roles, cache: models)
    return rewards.Scorer(open_study("smoke", str(tmp_path / "run")))


def test_prompts_without_a_reference_are_said_once(
        scorer: rewards.Scorer, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [conversation(prompt, "amber") for prompt in ("known", "known", "unknown")]
    assert None not in [score for scores in (scorer.score(asked), scorer.score(asked))
                        for role in scores for score in scores[role]]
    said = capsys.readouterr().out
    assert said.count("no reference answer to 1 of 2 prompts; there the judge is the head") == 1


def test_a_judge_that_reads_references_does_not_score_them(scorer: rewards.Scorer) -> None:
    rows = [{"id": "1", "chosen": 0, "candidates": [
        {"text": "amber", "rewards": {"selector": 1.0, "judge": 1.0}}]}]
    heldout = [{"id": "1", "prompt": "known", "reference": "amber"}]
    assert [row["judge"] for row in reference_results(scorer, {"sft": rows}, heldout)] == [
        "selector"]


def test_a_runs_own_references_stand_beside_those_of_the_sample(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path / "run"))
    assert "mine" not in rewards.written_answers(study)
    study.path("data").mkdir(parents=True)
    study.path("data", "heldout.parquet").touch()
    monkeypatch.setattr(rewards, "load_part", lambda study, part: [
        {"prompt": "mine", "reference": "amber"}, {"prompt": "bare", "reference": None}])
    known = rewards.written_answers(study)
    assert known["mine"] == "amber"
    assert "bare" not in known
    assert len(known) == 841


def test_choices_are_measured_on_prompts_that_no_fit_saw(
        sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[np.ndarray] = []
    monkeypatch.setattr(choices, "fit_on", lambda sample, recipe, kept, options: (
        fits.append(kept), lambda features: np.zeros(len(features)))[1])
    rewards = choices.held_out_rewards(sample, RECIPES["judge"], DEFAULTS)
    groups = sample.answers["judged and fresh"].groups
    assert not np.isnan(rewards).any()
    assert len(fits) == choices.FOLDS
    assert np.array_equal(sum(~kept for kept in fits), np.ones(len(groups)))
    assert not any(set(groups[kept]) & set(groups[~kept]) for kept in fits)


def test_the_selector_is_never_tried_with_a_reference(sample: Sample) -> None:
    rows = choices.choice_rows(sample)
    assert {row["head"]: row["variant"] for row in reversed(rows)} == {
        "judge": "as it is", "selector": "as it is"}
    assert not any("overlap" in row["variant"] for row in rows if row["head"] == "selector")
    table = choices.choices_table(rows)
    assert "| judge | as it is | " in table


def test_fresh_answers_are_compared_with_each_other_and_left_out_with_their_prompt(
        sample: Sample) -> None:
    first, joined = (sample.answers[name] for name in ("judged", "judged and fresh"))
    assert len(joined.pairs) == len(first.pairs) + 1  # no pair across two readings
    assert (joined.rows[joined.pairs[:, 0]] == joined.rows[joined.pairs[:, 1]]).all()
    assert joined.groups.tolist() == [*first.groups, 0, 0]
