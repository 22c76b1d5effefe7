"""A gate between two runs: it passes only where a loss beyond the margin is ruled out."""

import numpy as np
import pytest

from lib.analysis.comparisons.runs import (
    LOSES,
    PASSES,
    UNSURE,
    board_of_runs,
    gated,
    moved_rows,
    system_of,
)
from lib.analysis.tables.runs import gate_findings, moved_table, settings_table
from lib.inference.systems import System
from tests.analysis.comparisons.test_all_pairs import board_of, drawn, pool


def test_a_gate_without_a_judged_prompt_fails_and_says_so() -> None:
    [found] = gated([dict.fromkeys(("win_rate", "ci_low", "ci_high")) | {
        "a": "b: dpo", "b": "a: dpo", "n": 0}], 0.05)
    assert (found["verdict"], found["enough"]) == (UNSURE, None)
    assert "fails: b: dpo over a: dpo: no prompt has a verdict" in gate_findings([found])


def row(low: float, rate: float, high: float, n: int = 100) -> dict:
    return {"a": "b: dpo", "b": "a: dpo", "win_rate": rate, "ci_low": low, "ci_high": high, "n": n}


@pytest.mark.parametrize(("ends", "verdict"), [
    ((0.46, 0.50, 0.54), PASSES), ((0.45, 0.50, 0.55), PASSES), ((0.55, 0.60, 0.65), PASSES),
    ((0.40, 0.50, 0.60), UNSURE), ((0.40, 0.44, 0.48), UNSURE), ((0.30, 0.35, 0.40), LOSES)])
def test_the_verdict_is_about_the_lower_end_of_the_interval(
        ends: tuple[float, float, float], verdict: str) -> None:
    [found] = gated([row(*ends)], 0.05)
    assert found["verdict"] == verdict


@pytest.mark.parametrize(("ends", "enough"), [
    ((0.40, 0.50, 0.60), 400), ((0.30, 0.50, 0.70), 1600), ((0.40, 0.44, 0.48), None),
    ((0.30, 0.35, 0.40), None)])
def test_the_prompts_that_would_do_are_told_only_where_the_rate_lies_within_the_margin(
        ends: tuple[float, float, float], enough: int | None) -> None:
    [found] = gated([row(*ends)], 0.05)
    assert found["enough"] == (enough and pytest.approx(enough, abs=1))  # rounded up


def test_each_verdict_is_a_sentence_of_its_own() -> None:
    ends = [(0.46, 0.5, 0.54), (0.4, 0.5, 0.6), (0.3, 0.35, 0.4), (0.4, 0.44, 0.48)]
    lines = gate_findings(gated([row(*each) for each in ends], 0.05)).splitlines()
    assert ["passes" in line for line in lines] == [True, False, False, False]
    assert "about 400 prompts would rule it out" in lines[1]
    assert "the whole interval lies below .45" in lines[2]
    assert "the rate lies below .45, though its interval does not" in lines[3]


def test_a_systems_name_gains_its_run_and_stays_a_systems_name() -> None:
    assert System.parse(system_of("b", "dpo+bon4@0.6")) == System("b: dpo", "bon", 4, 0.6)
    assert system_of("a", "sft") == "a: sft"


def test_a_plain_policy_stays_at_its_own_runs_temperature() -> None:
    cold, hot = board_of({("dpo", 0.6): pool("a", drawn(1))}), board_of({
        ("dpo", 0.6): pool("b", drawn(2)), ("dpo", 1.0): pool("c", drawn(3))})
    both = board_of_runs({"a": cold, "b": type(hot)(hot.pools, hot.judges, 1.0)})
    assert both.pool(System("b: dpo")) is hot.pools["dpo", 1.0]
    assert both.pool(System.parse("b: dpo+bon2@0.6")) is hot.pools["dpo", 0.6]
    with pytest.raises(ValueError, match="there are pools of a: dpo@0.6, b: dpo@0.6, b: dpo@1$"):
        both.matches("judge", "c: dpo", "a: dpo")


def test_prompts_stand_from_the_worst_change_to_the_best_without_the_unjudged() -> None:
    nan = np.nan
    rows = moved_rows(["p", "q", "r", "s"], np.array([0.2, 0.9, nan, 0.5]),
                      np.array([1.0, 3.0, 1.0, 2.0]), np.array([2.0, 1.0, nan, 2.0]))
    assert [(each["id"], each["change"]) for each in rows] == [("p", -1.0), ("s", 0.0), ("q", 2.0)]


def test_a_table_shows_both_ends_of_what_moved() -> None:
    rows = [{"id": f"p{n}", "prompt": "Why? " * 30, "win_rate": 0.5, "score_a": 0.0,
             "score_b": float(n), "change": float(n)} for n in range(-20, 20)]
    table = moved_table(rows)
    assert table.count("\n") == 11
    assert [name in table for name in ("p-20 ", "p19 ", "p0 ")] == [True, True, False]
    assert "No prompt" in moved_table([])
    assert "No setting" in settings_table([])
