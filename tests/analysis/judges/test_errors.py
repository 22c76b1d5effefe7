"""Judges' errors on the audit and corrected rates, with what figures and tables say of them."""

import json
import re
from itertools import combinations

import numpy as np
import pytest

from lib.analysis import figures, tables
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows, round_robin
from lib.analysis.judges.audit import READER, audit_systems
from lib.analysis.judges.errors import corrected_win_rates, judge_calibration, length_bias
from lib.analysis.statistics.prediction_powered import prediction_powered_win_rate
from tests.analysis.analysis_rows import system
from tests.analysis.judges.test_audit import AUDIT, READER_SCORES, noisy

LENGTHS = [[len(answer["text"]) for answer in row["answers"]] for row in AUDIT]


def test_calibration_is_measured_on_the_pairs_that_the_reader_separates() -> None:
    row = judge_calibration(AUDIT, "noisy", noisy(1.0))
    assert row["n"] == sum(part["n"] for part in row["bins"]) > 800
    apart = [one["score"] != other["score"] for row in AUDIT
             for one, other in combinations(row["answers"], 2) if one["text"] != other["text"]]
    assert row["n"] == sum(apart) < len(apart)
    assert row["nll_at_temperature"] <= row["nll"]
    json.dumps(row, allow_nan=False)


def test_a_judge_that_counts_characters_stands_out_beside_the_reader() -> None:
    reader, counting, opposite = length_bias(
        AUDIT, {"counting": LENGTHS, "opposite": [[-n for n in row] for row in LENGTHS]})
    assert reader["judge"] == READER
    assert (counting["prefers_longer"], opposite["prefers_longer"]) == (1, 0)
    assert reader["ci_low"] < reader["prefers_longer"] < reader["ci_high"]


def test_unscored_answers_are_left_out_of_the_length_bias() -> None:
    holes = [[None, *row[1:]] for row in LENGTHS]
    _, row = length_bias(AUDIT, {"counting": holes})
    _, whole = length_bias(AUDIT, {"counting": LENGTHS})
    assert row["n"] < whole["n"]


def test_taking_off_the_mean_error_finds_the_truth_and_is_wider_than_the_judges_interval() -> None:
    random = np.random.default_rng(0)
    truth = random.random(2000) < 0.5
    flattering = np.where(random.random(2000) < 0.4, 1.0, truth)
    arguments = flattering[120:], flattering[:120], truth[:120]
    found = prediction_powered_win_rate(*arguments, weight=1.0)
    assert found["low"] < 0.5 < found["high"]
    assert found["weight"] == 1
    alone = 1.96 * np.sqrt(flattering.var() / 1880)
    assert found["high"] - found["low"] > 2 * alone
    pooled = prediction_powered_win_rate(*arguments)
    assert pooled["high"] - pooled["low"] <= found["high"] - found["low"]


def test_a_prompt_that_only_judge_or_reader_scored_corrects_nothing() -> None:
    nan = np.nan
    judged = [1, 0, 1, 0.5, 1, nan]
    found = prediction_powered_win_rate(judged, [1, nan, 0, 1, 1], [1, 1, nan, 0, 1])
    assert found == prediction_powered_win_rate(judged, [1, 1, 1], [1, 0, 1])
    assert (found["labelled"], found["judged"]) == (3, 5)
    with pytest.raises(ValueError, match="5 judged and 1 labelled prompts; a correction needs"):
        prediction_powered_win_rate(judged, [1, nan], [0, 1])
    with pytest.raises(ValueError, match="2 outcomes of the judge against 3 of the reader"):
        prediction_powered_win_rate(judged, [1, 0], [0, 1, 1])


def test_the_weight_is_the_one_with_the_smallest_variance() -> None:
    """Of the estimate weight * mean(judged) + mean(reader - weight * judge on the labelled)."""
    random = np.random.default_rng(3)
    reader = random.choice([0, 0.5, 1.0], 60)
    judge = np.where(random.random(60) < 0.6, reader, random.choice([0, 1.0], 60))
    judged = random.permutation(np.tile(judge, 5))

    def variance(weight: float) -> float:
        return (weight**2 * judge.var(ddof=1) / len(judged)
                + np.var(reader - weight * judge, ddof=1) / len(judge))
    grid = np.linspace(0, 1, 1001)
    best = grid[np.argmin([variance(weight) for weight in grid])]
    assert 0.1 < best < 0.9
    assert prediction_powered_win_rate(judged, judge, reader)["weight"] == pytest.approx(
        best, abs=1e-3)


def test_only_comparisons_that_the_reader_saw_are_corrected() -> None:
    scores = noisy(1.5)
    systems = audit_systems(AUDIT, {"noisy": scores})
    systems["dpo+bon4@1"] = systems["dpo"]
    pairs = [("dpo", "base"), ("dpo+bon4@1", "base")]
    rows = corrected_win_rates(systems, AUDIT, "noisy", scores, pairs)
    assert [(row["a"], row["b"]) for row in rows] == [("dpo", "base")]
    one = {name: rows[:1] for name, rows in systems.items()}
    assert corrected_win_rates(one, AUDIT, "noisy", scores, pairs) == []
    for row in systems["dpo"][1:]:  # all but one could not be scored
        row["candidates"] = [row["candidates"][0] | {"rewards": {"noisy": None}}]
    assert corrected_win_rates(systems, AUDIT, "noisy", scores, pairs) == []


def test_a_judge_without_error_is_left_as_it_is() -> None:
    systems = audit_systems(AUDIT, {"twin": READER_SCORES})
    [row] = corrected_win_rates(systems, AUDIT, "twin", READER_SCORES, [("dpo", "base")])
    assert [row["win_rate"], row["judge_rate"]] == pytest.approx([row["reader_rate"]] * 2)


def test_figures_say_who_is_first_and_whether_clearly() -> None:
    systems = {"base": system([1.0] * 30), "sft": system([2.0] * 20 + [0.0] * 10, "b"),
               "dpo": system([3.0] * 29 + [0.0], "c")}
    board = scoreboard(systems, ["judge"])
    rows = ratings_rows(rate_systems(board, "judge", resamples=100), "judge")
    figure = figures.ratings_figure(rows)
    assert "DPO is clearly first, by the judge" in figure.layout.title.text
    matrix = figures.round_robin_figure(round_robin(board, resamples=50), "judge")
    assert matrix.data[0].z[0][1] == pytest.approx(1 - matrix.data[0].z[1][0])
    assert "of 3 comparisons by the judge" in matrix.layout.title.text


def test_a_judge_is_called_over_confident_only_if_its_interval_says_so() -> None:
    title = figures.calibration_figure(
        [judge_calibration(AUDIT, "noisy", noisy(1.0))]).layout.title.text.replace("<br>", " ")
    assert title.startswith("The noisy is right in")
    row = {"judge": "judge", "n": 9, "accuracy": 0.6, "temperature": 1.4, "bins": []}

    def said(low: float, high: float) -> str:
        ends = {"temperature_low": low, "temperature_high": high}
        return figures.calibration_figure([row | ends]).layout.title.text.replace("<br>", " ")
    assert "and over-confident (best temperature 1.40 [1.10, 2.00])" in said(1.1, 2.0)
    assert "and not shown to be over- or under-confident" in said(0.8, 2.0)
    assert "and under-confident" in said(0.5, 0.9)


def test_a_calibration_error_stands_beside_that_of_a_perfect_model() -> None:
    table = tables.calibration_table([judge_calibration(AUDIT, "noisy", noisy(1.0))])
    assert re.search(r"\| \.\d{3} \| \.\d{3}, below \.\d{3} in 95 % \|", table)
