"""Heads: their two objectives, cross-validation over prompts, what a head remembers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from lib import ROOT
from lib.analysis.judges.reward_models import clustered_share, head_report
from lib.analysis.tables import slices_table
from lib.inference.rewards.heads.answers import ScoredAnswers, scored_answers
from lib.inference.rewards.heads.bradley_terry import bradley_terry_loss
from lib.inference.rewards.heads.head import Head, HeadOptions, fit_head, load_head, save_head
from lib.inference.rewards.heads.objectives import OBJECTIVES, Objective, group_folds
from lib.runtime.files import FileError

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())
TRUTH = np.array([1.0, -2.0, 0.5, 0.0])


def made_up_answers(prompts: int = 120, noise: float = 0.1,
                    seed: int = 0) -> tuple[ScoredAnswers, np.ndarray]:
    """Answers whose score is a linear function of four features, plus a large prompt effect."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(prompts * 4, 4)).astype(np.float32)
    scores = features @ TRUTH + noise * draw.normal(size=len(features))
    scores += np.repeat(draw.normal(scale=10, size=prompts), 4)
    rows = [{"prompt": f"question {number}", "source": "ab"[number % 2], "answers": [
        {"text": "x" * draw.integers(5, 60), "score": float(score)} for score in four]}
        for number, four in enumerate(scores.reshape(prompts, 4))]
    return scored_answers(rows, "made_up"), features


def head_of(answers: ScoredAnswers, features: np.ndarray, **options: float | str) -> Head:
    pairs = answers.all_pairs
    return fit_head(features, pairs, answers.groups, answers.gaps_of(pairs), HeadOptions(**options),
                    layers=(1,), views=("prompt_then_answer",), pooling="mean", backbone="b",
                    fitted_on=answers.name, data_hash=answers.digest)


def test_the_loss_is_the_published_one_with_and_without_margin() -> None:
    given, expected = VECTORS["6_reward_model"]["in"], VECTORS["6_reward_model"]["out"]
    differences = np.array([given["r_chosen"]]).T - np.array([given["r_rejected"]]).T
    one, even = np.ones(1), np.ones(3)
    plain, _ = bradley_terry_loss(one, differences, 0.0, np.zeros(3), even)
    wider, _ = bradley_terry_loss(one, differences, 0.0, np.array(given["margin"]), even)
    assert plain == pytest.approx(expected["bt_mean"], abs=1e-10)
    assert wider == pytest.approx(expected["bt_margin_mean"], abs=1e-10)


def test_the_gradient_is_the_derivative_of_the_loss() -> None:
    draw = np.random.default_rng(0)
    differences, weights = draw.normal(size=(20, 3)), draw.normal(size=3)
    rest = (differences, 0.3, draw.random(20), draw.random(20))
    numeric = approx_fprime(weights, lambda w: bradley_terry_loss(w, *rest)[0], 1e-7)
    assert bradley_terry_loss(weights, *rest)[1] == pytest.approx(numeric, abs=1e-5)


def test_least_squares_on_all_pairs_is_the_regression_of_scores_centred_within_the_prompt(
        ) -> None:
    answers, features = made_up_answers(20, noise=1.0)
    head = head_of(answers, features, objective="least_squares", ridges=(0.3,))
    standard = (features - head.mean) / head.deviation
    centred, target = (values - np.repeat(values.reshape(20, 4, -1).mean(1), 4, axis=0)
                       for values in (standard, answers.scores[:, None]))
    # The mean over 6 pairs a prompt of a squared difference is 4 / 6 of the sum of squares.
    share = 4 / len(answers.all_pairs)
    slopes = np.linalg.solve(share * centred.T @ centred + 0.3 * np.eye(4),
                             share * centred.T @ target)[:, 0]
    assert head.weights == pytest.approx(slopes, rel=1e-4)
    assert np.corrcoef(head(features) - np.repeat(head(features).reshape(20, 4).mean(1), 4),
                       target[:, 0])[0, 1] > 0.8


def test_ties_count_for_least_squares_alone() -> None:
    answers, features = made_up_answers(30)
    tied = replace(answers, scores=answers.scores.round(-1))
    assert len(tied.pairs) < len(tied.all_pairs) == len(answers.pairs)
    assert {objective: head_of(tied, features, objective=objective).pairs
            for objective in OBJECTIVES} == {
        "bradley_terry": len(tied.pairs), "least_squares": len(tied.all_pairs)}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_head_finds_the_direction_that_made_the_scores(objective: str) -> None:
    answers, features = made_up_answers()
    head = head_of(answers, features, objective=objective)
    direction = head.weights / head.deviation
    cosine = direction @ TRUTH / np.linalg.norm(direction) / np.linalg.norm(TRUTH)
    assert cosine > 0.98
    assert head.cv_accuracy > 0.95


def test_on_noise_cross_validation_says_chance() -> None:
    answers, _ = made_up_answers()
    noise = np.random.default_rng(1).normal(size=(len(answers.scores), 60))
    assert head_of(answers, noise).cv_accuracy == pytest.approx(0.5, abs=0.06)


def test_noisy_labels_get_a_stronger_ridge() -> None:
    def ridge(noise: float) -> float:
        answers, features = made_up_answers(noise=noise)
        padding = np.random.default_rng(1).normal(size=(len(features), 40))
        return head_of(answers, np.hstack([features, padding])).ridge

    assert ridge(noise=0.01) < ridge(noise=10.0)


def test_a_fold_never_splits_a_prompt() -> None:
    groups = np.repeat(np.arange(11), 3)
    folds = group_folds(groups, 4, seed=0)
    assert np.sum(folds, axis=0).tolist() == [1] * 33
    for fold in folds:
        assert not set(groups[fold]) & set(groups[~fold])


def test_more_folds_than_prompts_is_an_error_that_says_how_many() -> None:
    with pytest.raises(ValueError, match="folds is 5 with 3 prompts; use 2 to 3"):
        group_folds(np.array([0, 1, 2]), 5, seed=0)


def test_a_margin_spreads_the_rewards_of_pairs_with_a_wide_gap() -> None:
    answers, features = made_up_answers(noise=1.0)

    def spread(**options: float) -> float:
        rewards = head_of(answers, features, ridges=(0.1,), **options)(features)
        better, worse = answers.pairs.T
        return float(np.cov(rewards[better] - rewards[worse], answers.gaps)[0, 1])

    assert spread(margin=1.0) > spread(margin=0.0) * 1.2


def test_pairs_are_ranked_within_a_prompt_and_ties_left_out() -> None:
    rows = [{"prompt": "p", "answers": [{"text": t, "score": s}
                                        for t, s in (("a", 1), ("b", 3), ("c", 3))]},
            {"prompt": "q", "answers": [{"text": "d", "score": 9}]}]
    answers = scored_answers(rows, "rows")
    assert sorted(map(tuple, answers.pairs.tolist())) == [(1, 0), (2, 0)]
    assert answers.gaps.tolist() == [2, 2]


def test_a_row_without_scores_is_named() -> None:
    with pytest.raises(ValueError, match=r"judged, row 2: expected a prompt and answers"):
        scored_answers([{"prompt": "p", "answers": []}, {"prompt": "p"}], "judged")


def test_an_answer_that_was_not_read_is_left_out_of_the_fit() -> None:
    answers, features = made_up_answers()
    features[3, 1] = np.nan
    head = head_of(answers, features)
    assert head.pairs == len(answers.pairs) - 3
    assert np.isfinite(head.weights).all()
    assert head.cv_accuracy > 0.95
    assert np.isnan(head(features)[3])


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_no_pairs_to_fit_on_is_an_error(objective: Objective) -> None:
    with pytest.raises(ValueError, match="0 pairs to fit on"):
        objective.fit(np.zeros((0, 3)), 1.0, np.zeros(0), np.zeros(0))


def test_a_saved_head_scores_the_same_when_read_back(tmp_path: Path) -> None:
    answers, features = made_up_answers(20)
    head = head_of(answers, features)
    save_head(head, tmp_path, "judge")
    again = load_head(tmp_path, "judge")
    assert np.array_equal(again(features), head(features))
    assert (again.ridge, again.options, again.digest) == (head.ridge, head.options, head.digest)
    assert (again.layers, again.views) == ((1,), ("prompt_then_answer",))


def test_a_damaged_or_swapped_head_is_an_error(tmp_path: Path) -> None:
    answers, features = made_up_answers(20)
    save_head(head_of(answers, features), tmp_path, "judge")
    save_head(head_of(answers, -features), tmp_path, "other")
    (tmp_path / "other.json").replace(tmp_path / "judge.json")
    with pytest.raises(FileError, match="belong to different heads"):
        load_head(tmp_path, "judge")
    (tmp_path / "judge.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FileError, match="cannot read the head"):
        load_head(tmp_path, "judge")


def test_the_report_counts_pairs_by_gap_source_and_length() -> None:
    answers, features = made_up_answers(60)
    report = head_report(features @ TRUTH, answers)
    assert report["all"]["value"] > 0.95
    assert report["all"]["n"] == len(answers.pairs) == sum(
        row["n"] for row in report["by_source"])
    assert [row["n"] for row in report["by_gap"]] == sorted(
        (row["n"] for row in report["by_gap"]), reverse=True)
    assert 0 < report["length_matched"]["n"] < report["all"]["n"]
    assert 0.5 <= report["length_alone"]["value"] < 0.65
    assert json.loads(json.dumps(report)) == report


def test_answers_of_which_no_pair_has_two_scores_have_no_report() -> None:
    answers, features = made_up_answers(6)
    rewards = np.full(len(features), np.nan)
    rewards[answers.pairs[0, 0]] = 1.0
    with pytest.raises(ValueError, match="has no pair with two scored answers; nothing to report"):
        head_report(rewards, answers)


def test_the_table_of_slices_has_every_gap_and_source_and_the_calibration_of_every_test() -> None:
    answers, features = made_up_answers(60)
    report = head_report(features @ TRUTH, answers)
    report["by_gap"][-1] |= {"value": None, "n": 0}
    head, _, *lines = slices_table({"judge": {"audit": report, "made_up": report}}).splitlines()
    assert head == "| pairs | judge on audit | judge on made_up |"
    labels = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert labels == ["a gap of 0.5 or more", "a gap of 1 or more", "a gap of 2 or more",
                      "a gap of 3 or more", "a", "b", "by length alone",
                      "calibration error", "a perfect model's", "temperature"]
    value, n = report["by_source"][0]["value"], report["by_source"][0]["n"]
    assert f"{value:.2f}".lstrip("0") in lines[4]
    assert f"n = {n}" in lines[4]
    assert lines[3] == "| a gap of 3 or more | – | – |"


def test_an_answer_without_a_reward_is_missing_from_the_report_not_wrong() -> None:
    answers, features = made_up_answers(30)
    rewards = features @ TRUTH
    rewards[0] = np.nan
    touched = int((answers.pairs == 0).any(1).sum())
    report = head_report(rewards, answers)
    assert report["missing"] == touched > 0
    assert report["all"]["n"] == len(answers.pairs) - touched


def test_intervals_over_prompts_are_wider_than_over_pairs_when_prompts_agree() -> None:
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 40).astype(float), 6)
    by_prompt = clustered_share(values, np.repeat(np.arange(40), 6))
    by_pair = clustered_share(values, np.arange(240))
    assert (by_prompt["ci_high"] - by_prompt["ci_low"]) > 1.8 * (
        by_pair["ci_high"] - by_pair["ci_low"])
    assert clustered_share(np.zeros(0), np.zeros(0))["value"] is None
