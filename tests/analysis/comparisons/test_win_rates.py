"""Win-rate rows: their schema, their ties, and the inputs that must be refused."""

import json

import numpy as np
import pytest

from lib.analysis.comparisons.scoreboard import outcome, scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows, round_robin
from tests.analysis.analysis_rows import compare, response, system

FIXED_KEYS = {"a", "b", "judge", "n", "wins", "ties", "losses", "win_rate", "ci_low", "ci_high",
              "length_controlled", "seed"}


def test_a_row_has_the_fixed_keys_and_is_plain_json() -> None:
    row = compare(system([3, 2, 1]), system([1, 2, 3], "b"), "judge", "dpo", "sft", seed=7)
    assert row.keys() >= FIXED_KEYS
    assert (row["a"], row["b"], row["judge"], row["seed"]) == ("dpo", "sft", "judge", 7)
    assert (row["wins"], row["ties"], row["losses"], row["win_rate"]) == (1, 1, 1, 0.5)
    json.dumps(row, allow_nan=False)


def test_mirrored_rows_sum_to_one_with_mirrored_intervals() -> None:
    a, b = system([3, 2, 2, 5, 1]), system([1, 2, 3, 4, 0], "b")
    row, mirror = compare(a, b, "judge"), compare(b, a, "judge")
    assert row["win_rate"] + mirror["win_rate"] == pytest.approx(1)
    assert row["ci_low"] + mirror["ci_high"] == pytest.approx(1)
    assert row["length_controlled"] + mirror["length_controlled"] == pytest.approx(1)
    assert row["length_controlled_low"] + mirror["length_controlled_high"] == pytest.approx(1)


def test_a_system_against_itself_is_one_half() -> None:
    row = compare(system([3, 2, 1]), system([3, 2, 1]), "judge")
    assert (row["win_rate"], row["ties"], row["p_value"]) == (0.5, 3, 1)


def test_the_order_of_rows_does_not_matter() -> None:
    a, b = system([3, 2, 2, 5, 1]), system([1, 2, 3, 4, 0], "b")
    assert compare(a, b, "judge") == compare(a, b[::-1], "judge")


def test_identical_texts_are_ties_whatever_the_scores_say() -> None:
    a = [response(0, "The same.", 5.0), response(1, "Same, unscored.", None)]
    b = [response(0, "The same. ", 1.0), response(1, "Same, unscored.", 4.0)]
    row = compare(a, b, "judge")
    assert (row["ties"], row["n"], row["missing"]) == (2, 2, 0)


def test_scores_are_compared_exactly_and_a_missing_one_is_missing_beside_another_text() -> None:
    nan = float("nan")
    found = outcome([1 + 1e-12, 1, 0, nan, nan], [1, 1, 1, 1, 1],
                    [False, False, False, False, True])
    assert found[:3].tolist() == [1, 0.5, 0]
    assert np.isnan(found[3])
    assert found[4] == 0.5


def test_what_a_reader_did_not_read_is_missing_even_where_the_texts_are_equal() -> None:
    read = [1.0, None, 3.0, None]
    a = [response(n, "the same" if n < 2 else f"a{n}", 1.0, reader=read[n]) for n in range(4)]
    b = [response(n, "the same" if n < 2 else f"b{n}", 2.0, reader=read[n]) for n in range(4)]
    row = compare(a, b, "reader")
    assert (row["n"], row["ties"], row["missing"]) == (2, 2, 2)
    assert compare(a, b, "judge")["n"] == 4


def test_an_answer_that_was_never_picked_is_missing_even_beside_the_same_text() -> None:
    plain = [response(0, "First.", 3.0), response(1, "One.", 3.0)]
    pools = [response(0, "First.", None), response(1, "One.", 3.0)]
    for row in pools:  # the first stands in where nothing could be scored
        row["candidates"].append({"text": "Second.", "tokens": 1, "rewards": {"judge": None}})
    row = compare(pools, plain, "judge")
    assert (row["n"], row["ties"], row["missing"]) == (1, 1, 1)


def test_missing_scores_are_counted_and_never_zero() -> None:
    row = compare(system([None, 2, -5]), system([-9, None, -6], "b"), "judge")
    assert (row["n"], row["missing"], row["wins"]) == (1, 2, 1)


def test_one_prompt_gives_a_row_with_a_wide_interval() -> None:
    row = compare(system([1]), system([0], "b"), "judge")
    assert (row["win_rate"], row["n"]) == (1, 1)
    assert row["ci_high"] - row["ci_low"] > 0.7


def test_all_ties_are_one_half_with_an_interval() -> None:
    row = compare(system([1] * 30), system([1] * 30, "b"), "judge")
    assert row["win_rate"] == 0.5
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_different_prompt_sets_are_refused_and_the_difference_named() -> None:
    longer = system([1, 2, 3], "b")
    with pytest.raises(ValueError, match="answered different prompts: only a has p9"):
        compare([response(9, "?", 1.0)], longer, "judge")
    longer[0]["prompt"] = "Another question?"
    with pytest.raises(ValueError, match="different prompts under the same id: p0"):
        compare(system([1, 2, 3]), longer, "judge")


def test_a_system_that_was_asked_fewer_prompts_is_compared_on_those() -> None:
    systems = {"sft": system([1, 1, 1, 1]), "dpo": system([2, 0, None], "b")}
    board = scoreboard(systems, ["judge"])
    [row] = round_robin(board, resamples=50)
    assert (row["n"], row["missing"], row["win_rate"]) == (2, 1, 0.5)
    assert board.both_asked("dpo", "sft").tolist() == [True, True, True, False]


def test_repeated_rows_unknown_judges_and_no_rows_are_refused() -> None:
    rows = system([1, 2])
    for repeated in (0, 1):
        with pytest.raises(ValueError, match=f"answers p{repeated} more than once"):
            compare([*rows, rows[repeated]], rows, "judge")
    with pytest.raises(ValueError, match="nobody scored no answer"):
        compare(rows, rows, "nobody")
    with pytest.raises(ValueError, match="needs at least one prompt"):
        compare([], [], "judge")


def test_a_round_robin_compares_all_pairs_later_against_earlier() -> None:
    systems = {"base": system([1, 1, 1, 1]), "sft": system([2, 2, 0, 1], "b"),
               "dpo": system([3, 3, 3, 3], "c")}
    rows = round_robin(scoreboard(systems, ["judge"]), resamples=200)
    assert [(row["a"], row["b"]) for row in rows] == [("sft", "base"), ("dpo", "base"),
                                                      ("dpo", "sft")]
    assert all(row["holm_p"] >= row["p_value"] for row in rows)
    assert rows[1]["win_rate"] == 1
    single = compare(systems["dpo"], systems["sft"], "judge", "dpo", "sft", resamples=200)
    assert single | {"holm_p": rows[2]["holm_p"]} == rows[2]


def test_a_round_robin_takes_named_pairs_and_refuses_unknown_ones() -> None:
    systems = {"base": system([1, 1]), "sft": system([2, 2], "b")}
    [row] = round_robin(scoreboard(systems, ["judge"]), [("base", "sft")], resamples=50)
    assert (row["a"], row["b"], row["losses"]) == ("base", "sft", 2)
    with pytest.raises(ValueError, match="ppo has no responses; expected one of base, sft"):
        round_robin(scoreboard(systems, ["judge"]), [("ppo", "sft")])


def test_ratings_order_the_systems_and_survive_one_that_never_loses() -> None:
    systems = {"base": system([1, 1, 2, 1]), "sft": system([2, 2, 0, 1], "b"),
               "dpo": system([3, 3, 3, 3], "c")}
    board = scoreboard(systems, ["judge"])
    rows = ratings_rows(rate_systems(board, "judge", resamples=50), "judge")
    assert rows[0]["system"] == "dpo"
    assert rows[0]["prior"] == 0.5
    json.dumps(rows, allow_nan=False)
