"""The blind reader's verdicts, the judges measured by them, and corrected win rates."""

import json

import numpy as np
import pytest

from lib import ROOT
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.judges.audit import (
    READER,
    audit_agreement,
    audit_systems,
    judge_quality,
    reader_win_rates,
    system_name,
    system_order,
)
from lib.analysis.judges.errors import corrected_win_rates
from lib.analysis.judges.quality import judge_agreement, length_preference, pair_accuracy
from lib.analysis.statistics.calibration import calibration
from lib.analysis.statistics.outcomes import compare_gaps, win_rate
from lib.analysis.statistics.prediction_powered import prediction_powered_win_rate
from lib.analysis.tables import judges as judge_tables
from lib.runtime.files import read_jsonl

AUDIT = read_jsonl(ROOT / "data" / "sample" / "audit.jsonl")
READER_SCORES = [[answer["score"] for answer in row["answers"]] for row in AUDIT]


def noisy(spread: float) -> list[list[float]]:
    random = np.random.default_rng(0)
    return [[score + random.normal(0, spread) for score in row] for row in READER_SCORES]


def test_the_audit_has_five_systems_in_the_order_of_the_story() -> None:
    systems = audit_systems(AUDIT)
    assert list(systems) == ["base", "sft", "sft+bon4@0.6", "dpo", "dpo+bon4@0.6"]
    assert all(len(rows) == len(AUDIT) for rows in systems.values())


@pytest.mark.parametrize(("temperature", "name"), [(1.0, "dpo+bon4@1"), (0.6, "dpo+bon4@0.6")])
def test_the_audit_calls_a_system_what_the_run_calls_it(temperature: float, name: str) -> None:
    assert system_name({"system": "dpo", "selected": "bon4", "temperature": temperature}) == name


@pytest.mark.parametrize(("a", "b", "rate"), [
    ("sft", "base", 0.61), ("dpo", "sft", 0.52), ("sft+bon4@0.6", "sft", 0.58),
    ("dpo+bon4@0.6", "dpo", 0.62), ("dpo+bon4@0.6", "sft", 0.63), ("dpo+bon4@0.6", "base", 0.70)])
def test_the_readers_win_rates_are_those_published_with_the_sample(
        a: str, b: str, rate: float) -> None:
    [row] = reader_win_rates(AUDIT, pairs=[(a, b)], resamples=100)
    assert row["win_rate"] == pytest.approx(rate, abs=0.006)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(0.15, abs=0.025)


def test_a_judge_that_is_the_reader_is_always_right() -> None:
    for row in judge_quality(AUDIT, "twin", READER_SCORES):
        assert row["accuracy"] == 1
        assert not {"kappa", "ac1"} & set(row)  # of forced marginals: 2 accuracy - 1, no more
    order = system_order(AUDIT, "twin", READER_SCORES)
    assert order["kendall_tau"] == pytest.approx(1)
    assert order["turned"] == order["turned_surely"] == []
    assert order["reader_order"][0] == "dpo+bon4@0.6"


def test_a_judge_that_turns_the_readers_order_round_is_caught_where_the_reader_is_sure() -> None:
    order = system_order(AUDIT, "contrary", [[-score for score in row] for row in READER_SCORES])
    assert order["kendall_tau"] == pytest.approx(-1)
    assert len(order["turned"]) == 10
    assert ["base", "dpo+bon4@0.6"] in order["turned_surely"]
    assert ["sft", "dpo"] not in order["turned_surely"]  # .52 of 120: the reader is not sure
    table = judge_tables.system_order_table([order])
    assert "base / `dpo+bon4@0.6`" in table


def test_the_reader_and_the_judges_are_compared_with_each_other_on_the_same_verdicts() -> None:
    rows = audit_agreement(AUDIT, {"twin": READER_SCORES, "noisy": noisy(2.0)})
    assert [(row["judge_a"], row["judge_b"]) for row in rows] == [
        (READER, "twin"), (READER, "noisy"), ("twin", "noisy")]
    assert rows[0]["kappa"] == 1
    assert rows[1]["kappa"] == rows[2]["kappa"] < 0.8
    assert {row["n"] for row in rows} == {10 * len(AUDIT)}
    assert "| blind reader, twin | 1,200 | 1.00 | 1.00 | 1.00 |" in \
        judge_tables.audit_agreement_table(rows)


def test_a_judge_of_pure_noise_is_right_half_of_the_time() -> None:
    random = np.random.default_rng(1)
    scores = [[float(random.normal()) for _ in row] for row in READER_SCORES]
    [row, *_] = judge_quality(AUDIT, "coin", scores)
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_a_noisy_judge_is_more_often_right_where_the_gap_is_wide() -> None:
    half, one, two = judge_quality(AUDIT, "noisy", noisy(2.0))
    assert 0.5 < half["accuracy"] < one["accuracy"] < two["accuracy"] < 1
    assert half["n"] > one["n"] > two["n"]
    json.dumps([half, one, two], allow_nan=False)


def test_judges_appear_beside_the_reader_in_the_win_rates() -> None:
    rows = reader_win_rates(AUDIT, {"noisy": noisy(1.0)}, [("dpo", "sft")], resamples=50)
    assert [row["judge"] for row in rows] == [READER, "noisy"]


def test_scores_that_do_not_match_the_answers_are_refused() -> None:
    short = [READER_SCORES[0][:-1], *READER_SCORES[1:]]
    with pytest.raises(ValueError, match="4 scores of noisy for 5 answers"):
        audit_systems(AUDIT, {"noisy": short})


def test_a_correction_moves_a_biased_judge_to_the_truth_and_is_wider() -> None:
    random = np.random.default_rng(0)
    truth = random.random(5000) < 0.5
    flattering = np.where(random.random(5000) < 0.4, 1.0, truth)  # wins .7, truly .5
    found = prediction_powered_win_rate(flattering[200:], flattering[:200], truth[:200])
    assert found["judge_rate"] == pytest.approx(0.7, abs=0.02)
    assert found["low"] < 0.5 < found["high"]
    assert found["high"] - found["low"] > 4 * np.sqrt(0.21 / 4800)
    assert 0 < found["weight"] < 1


def test_the_corrected_interval_covers_the_truth() -> None:
    held = []
    for seed in range(400):
        random = np.random.default_rng(seed)
        truth = random.choice([0, 0.5, 1], size=320, p=[0.3, 0.16, 0.54])
        judge = np.where(random.random(320) < 0.3, 1.0, truth)
        found = prediction_powered_win_rate(judge[120:], judge[:120], truth[:120])
        held.append(found["low"] <= 0.62 <= found["high"])
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_a_judge_without_information_gets_no_weight() -> None:
    found = prediction_powered_win_rate([1, 1, 1, 1], [1, 1, 1], [1, 0, 0.5])
    assert (found["weight"], found["win_rate"]) == (0, 0.5)
    with pytest.raises(ValueError, match="1 judged and 3 labelled"):
        prediction_powered_win_rate([1], [1, 1, 1], [1, 0, 0.5])
    with pytest.raises(ValueError, match="3 outcomes of the judge against 1"):
        prediction_powered_win_rate([1, 0], [1, 1, 1], [1])


def test_a_runs_win_rate_is_corrected_by_the_audits_pair() -> None:
    scores = noisy(1.5)
    systems = audit_systems(AUDIT, {"noisy": scores})
    [row] = corrected_win_rates(systems, AUDIT, "noisy", scores, [("dpo+bon4@0.6", "base")])
    assert row["judge"] == "noisy"
    assert row["low"] < row["win_rate"] < row["high"]
    assert row["reader_rate"] == pytest.approx(0.7)
    assert row["reader_low"] < 0.7 < row["reader_high"]
    json.dumps(row, allow_nan=False)


def test_pair_accuracy_counts_ties_half_and_resamples_prompts() -> None:
    row = pair_accuracy([1, -1, 0, np.nan])
    assert (row["accuracy"], row["n"], row["missing"]) == (0.5, 3, 1)
    gaps = np.repeat([1.0, -1.0] * 10, 10)
    narrow, wide = pair_accuracy(gaps), pair_accuracy(gaps, np.repeat(np.arange(20), 10))
    assert wide["ci_high"] - wide["ci_low"] > 2 * (narrow["ci_high"] - narrow["ci_low"])
    with pytest.raises(ValueError, match="needs at least one"):
        pair_accuracy([np.nan])


def test_one_rule_says_who_is_right_in_accuracy_calibration_and_win_rate() -> None:
    gaps = [1.0, -2.0, 0.0, 1e-12, 0.5]
    assert compare_gaps([*gaps, np.nan]).tolist()[:-1] == [1, 0, 0.5, 1, 1]
    assert pair_accuracy(gaps)["accuracy"] == calibration(gaps)["accuracy"] == \
        win_rate(gaps, np.zeros(5)) == 0.7


def test_a_judge_that_counts_words_prefers_the_longer_answer() -> None:
    lengths = np.array([5, -3, 2, 0, -8])
    assert length_preference(lengths * 2.0, lengths)["prefers_longer"] == 1
    assert length_preference(-lengths * 2.0, lengths)["prefers_longer"] == 0
    assert length_preference(lengths, lengths)["n"] == 4


def test_judges_agree_with_themselves_and_less_with_noise() -> None:
    systems = audit_systems(AUDIT, {"twin": READER_SCORES, "noisy": noisy(3.0)})
    rows = judge_agreement(scoreboard(systems, [READER, "twin", "noisy"]), [("dpo", "base")])
    assert [row["kappa"] for row in rows][:1] == [1]
    assert rows[1]["kappa"] < 0.8
    assert rows[1]["n"] == len(AUDIT)
