"""Verdicts in both orders: what counts as a win, what the order does, and what takes it off."""

import numpy as np
import pytest

from lib.analysis.judges.both_orders import outcomes_by_game, position_bias, verdict_win_rates
from lib.analysis.statistics.significance import share_test
from lib.inference.judges.styles import ALPACA_EVAL, ARENA_HARD, PAIRWISE, STYLES, Style
from lib.runtime.files import Row

LLM = "llm"


def verdict_row(first: float | None, second: float | None, name: str = "p", *, same: bool = False,
                weights: tuple[int, int] = (1, 1), pair: tuple[str, str] = ("dpo", "sft")) -> Row:
    """first, second: the preference for a's answer, shown first and shown second."""
    orders = {order: None if value is None else {"preference": value, "weight": weight}
              for order, value, weight in zip(("shown_first", "shown_second"), (first, second),
                                              weights, strict=True)}
    return {"a": pair[0], "b": pair[1], "id": name, "same_text": same, "characters_a": 40,
            "characters_b": 30} | orders


def outcome(first: float, second: float, style: Style = PAIRWISE) -> float:
    (value,) = outcomes_by_game([verdict_row(first, second)], style)[0]
    return float(value)


@pytest.mark.parametrize(("first", "second", "expected"), [
    (1, 1, 1), (0, 0, 0), (1, 0, 0.5), (0, 1, 0.5), (1, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0.5)])
def test_a_win_counts_only_where_both_orders_name_it(first: float, second: float,
                                                     expected: float) -> None:
    assert outcome(first, second) == expected


def test_alpaca_evals_outcome_is_the_mean_of_both_orders() -> None:
    assert outcome(0.9, 0.4, ALPACA_EVAL) == pytest.approx(0.65)


def test_arena_hards_strong_verdicts_count_as_three_games() -> None:
    rows = [verdict_row(1, 0.5, "p", weights=(3, 1)), verdict_row(0, 0, "q", weights=(1, 1))]
    values, prompts = outcomes_by_game(rows, ARENA_HARD)
    assert values.tolist() == [1, 1, 1, 0.5, 0, 0]
    assert prompts.tolist() == ["p"] * 4 + ["q"] * 2
    (row,) = verdict_win_rates(rows, ARENA_HARD, LLM)
    assert row["win_rate"] == pytest.approx(3.5 / 6)
    assert (row["n"], row["wins"], row["ties"], row["losses"]) == (2, 1, 0, 1)


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_a_missing_verdict_is_missing_and_an_equal_text_a_tie(style: Style) -> None:
    rows = [verdict_row(1, None, "p"), verdict_row(None, None, "q"), verdict_row(1, 1, "r"),
            verdict_row(0.5, 0.5, "s", same=True)]
    (row,) = verdict_win_rates(rows, style, LLM)
    assert (row["n"], row["missing"], row["wins"], row["ties"], row["losses"]) == (2, 2, 1, 1, 0)
    assert row["win_rate"] == 0.75


def test_a_pair_without_any_verdict_has_no_rate_and_no_place_in_holms_family() -> None:
    rows = [verdict_row(None, 1), *(verdict_row(1, 1, str(name), pair=("dpo", "base"))
                                    for name in range(9))]
    empty, full = verdict_win_rates(rows, PAIRWISE, LLM)
    assert (empty["n"], empty["missing"], empty["win_rate"], empty["holm_p"]) == (0, 1, None, None)
    assert (empty["wins"], empty["ties"], empty["losses"]) == (0, 0, 0)
    assert full["holm_p"] == full["p_value"] < 0.05


def test_equal_texts_say_nothing_of_position() -> None:
    (overall, pair) = position_bias([verdict_row(1, 0, "p"), verdict_row(0.5, 0.5, "q", same=True)],
                                    PAIRWISE, LLM)
    assert (overall["a"], pair["a"]) == (None, "dpo")
    assert pair["n"] == 1
    assert pair["first_share"] == pair["inconsistent"] == 1
    assert (pair["shown_first"], pair["shown_second"]) == (0.75, 0.25)  # the tie is in the rates
    assert pair["win_rate"] == 0.5
    assert "shown_first" not in overall  # of other systems, so no rate
    assert position_bias([verdict_row(0.5, 0.5, same=True)], PAIRWISE, LLM) == []


def simulated(rng: np.random.Generator, bias: float, quality: float, prompts: int = 200,
              style: Style = PAIRWISE) -> list[Row]:
    """A judge that names the first on a share of its questions and is right otherwise."""
    better = rng.random(prompts) < quality
    first, second = (np.where(rng.random(prompts) < bias, place, better) for place in (1, 0))
    strong = rng.choice([1, 3], (prompts, 2)) if style.counting == "weighted" else \
        np.ones((prompts, 2), int)
    return [verdict_row(*map(float, values), str(name), weights=tuple(weights))
            for name, (*values, weights) in enumerate(zip(first, second, strong, strict=True))]


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_a_bias_to_the_first_place_shows_and_does_not_move_equal_systems(style: Style) -> None:
    rows = simulated(np.random.default_rng(1), 0.4, 0.5, style=style)
    (rate,), bias = verdict_win_rates(rows, style, LLM), position_bias(rows, style, LLM)[1]
    assert rate["ci_low"] < 0.5 < rate["ci_high"]
    assert bias["shown_first_low"] > 0.5 > bias["shown_second_high"]
    assert bias["first_low"] < 0.7 < bias["first_high"]  # .4 + .6 / 2
    assert bias["first_low"] > 0.5


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_the_interval_covers_an_even_rate_at_its_level_under_bias(style: Style) -> None:
    rng, hits, repetitions = np.random.default_rng(0), 0, 300
    for _ in range(repetitions):
        found = share_test(*outcomes_by_game(simulated(rng, 0.3, 0.5, 60, style), style))
        hits += found.ci_low <= 0.5 <= found.ci_high
    assert abs(hits / repetitions - 0.95) < 0.035  # Monte-Carlo error .013


def test_a_judge_without_bias_shows_none() -> None:
    bias = position_bias(simulated(np.random.default_rng(2), 0.0, 0.6), PAIRWISE, LLM)[1]
    assert bias["first_share"] == 0.5
    assert bias["inconsistent"] == 0
    assert bias["shown_first"] == bias["shown_second"]
