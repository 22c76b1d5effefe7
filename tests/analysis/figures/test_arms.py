"""Figures of arms: readable with one, with six and with all of them; titles without noise."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import pytest

from lib.analysis import figures
from lib.analysis.figures.arms import HIGH, WIDE, _box, _touch, fitting_names
from lib.analysis.policies.arms import what_to_try
from lib.runtime.files import Row
from lib.study.beyond.catalogue import ARMS, CHECK

NAMES = list(ARMS)


def some(count: int, better: int = 0) -> tuple[list[Row], list[Row], Row]:
    """Arms with made-up numbers, their win rates, and a reader; so many beat SFT."""
    random, arms, verdicts, read = np.random.default_rng(count), [], [], []
    for place, name in enumerate(NAMES[:count]):
        won, gain = 0.45 + 0.2 * random.random(), random.normal(0, 0.3)
        arms.append({"arm": name, "group": ARMS[name].group,
                     "check": ARMS[name].group == CHECK, "generated_tokens": 1000 * (place % 3),
                     "trained_tokens": 60_000 + place, "kl": random.exponential(1.0),
                     "kl_low": 0.0, "kl_high": 5.0, "kl_n": 64,
                     "judge": {"gain": gain, "gain_low": gain - 0.1, "gain_high": gain + 0.1,
                               "n": 200}})
        verdicts += [{"a": name, "b": "sft", "judge": judge, "n": 200, "win_rate": won + more,
                      "ci_low": won - 0.04, "ci_high": won + 0.1,
                      "holm_p": 0.01 if won > 0.5 and place < better else 0.9}
                     for judge, more in (("judge", 0.0), ("selector", 0.05))]
        read.append({"arm": name, "forecast": won - 0.02, "low": 0.4, "high": 0.7, "read": None,
                     "read_low": None, "read_high": None, "n": None})
    return arms, verdicts, {"rows": read}


def rates_figure(arms: list[Row], verdicts: list[Row], reader: Row) -> go.Figure:
    return figures.arm_rates_figure(verdicts, reader, what_to_try(arms, verdicts))


def title(figure: go.Figure) -> str:
    return figure.layout.title.text.replace("<br>", " ")


def names_in(figure: go.Figure) -> list[str]:
    return [text for trace in figure.data for text in trace.text or () if text]


@pytest.mark.parametrize("count", [1, 6, 20, len(NAMES)])
def test_no_two_names_touch_and_none_leaves_the_plot(count: int) -> None:
    random = np.random.default_rng(count)
    for spread in (0.02, 0.2, 0.5):  # from one heap of marks to the whole plot
        places = [(float(np.clip(WIDE * x, 5, WIDE - 5)), float(np.clip(HIGH * y, 5, HIGH - 5)))
                  for x, y in random.normal(0.5, spread, (count, 2))]
        sides = fitting_names(NAMES[:count], places)
        boxes = [_box(name, place, side) for name, place, side in
                 zip(NAMES, places, sides, strict=False) if side]
        assert boxes
        assert not [pair for pair in combinations(boxes, 2) if _touch(*pair)]
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= WIDE
            assert 0 <= top < bottom <= HIGH


def test_names_far_apart_are_all_shown() -> None:
    places = [(60 + 150 * column, 80 + 180 * row) for row in range(2) for column in range(3)]
    assert None not in fitting_names(NAMES[:6], places)


@pytest.mark.parametrize("count", [1, 6, len(NAMES)])
def test_every_arm_is_drawn_with_intervals_in_the_look_of_its_group(count: int) -> None:
    arms, verdicts, reader = some(count)
    for figure in (figures.reward_kl_figure(arms), figures.win_cost_figure(arms, verdicts, [])):
        drawn = [name for trace in figure.data for name in trace.customdata]
        assert sorted(drawn) == sorted(NAMES[:count])
        groups = [trace.name for trace in figure.data]
        assert groups == list(dict.fromkeys(ARMS[name].group for name in NAMES[:count]))
        assert len({(trace.marker.color, trace.marker.symbol) for trace in figure.data}) == len(
            groups)
        assert all(None not in trace.error_y.array for trace in figure.data)
        shown = len(names_in(figure))
        assert f"{shown} of {count} arms are named" in (
            figure.layout.title.subtitle.text.replace("<br>", " "))
    rates = rates_figure(arms, verdicts, reader)
    assert len(rates.layout.yaxis.ticktext) == count
    assert rates.layout.height >= 20 * count


def test_the_arms_are_ordered_by_the_judge_and_a_forecast_is_an_open_star() -> None:
    arms, verdicts, reader = some(6)
    reader["rows"][2] |= {"read": 0.55, "read_low": 0.5, "read_high": 0.6, "n": 60}
    figure = rates_figure(arms, verdicts, reader)
    judged = {row["a"]: row["win_rate"] for row in verdicts if row["judge"] == "judge"}
    assert list(figure.layout.yaxis.ticktext) == sorted(judged, key=judged.get, reverse=True)
    marks = {trace.name: trace for trace in figure.data}
    assert list(marks) == ["judge", "selector", "blind reader", "blind reader, forecast"]
    assert list(marks["blind reader"].customdata) == [NAMES[2]]
    assert len(marks["blind reader, forecast"].x) == 5
    assert marks["blind reader, forecast"].marker.symbol == "star-open"


def test_titles_claim_no_more_than_the_tests_show() -> None:
    arms, verdicts, reader = some(6)
    assert title(rates_figure(arms, verdicts, reader)).startswith("None of 6 methods beats SFT")
    assert title(figures.win_cost_figure(arms, verdicts, [])).startswith("No method beats SFT")
    for row in arms:
        row["judge"] |= {"gain_low": -0.1}
    assert "no arm's gain by the judge is above 0 for sure" in title(figures.reward_kl_figure(arms))
    arms, verdicts, reader = some(6, better=2)
    assert "of 6 methods beat" in title(rates_figure(arms, verdicts, reader))
    winners = [row["a"] for row in verdicts if row["holm_p"] < 0.05]
    assert title(figures.win_cost_figure(arms, verdicts, [])).split()[0] in winners


def test_the_title_of_a_single_method_is_a_sentence_about_one() -> None:
    for better, words in ((0, "The one method does not beat SFT"), (1, "The one method beats SFT")):
        arms, verdicts, reader = some(1)
        for row in verdicts:
            row |= {"win_rate": 0.6, "holm_p": 0.01 if better else 0.9}
        assert title(rates_figure(arms, verdicts, reader)).startswith(words)


def test_the_cost_of_a_win_is_compared_among_trained_methods_alone() -> None:
    arms, verdicts, _ = some(6, better=6)
    payments = [{"a": "sft+bon4@0.6", "b": "sft", "judge": "judge", "n": 200, "win_rate": 0.9}]
    assert "wins most of the trained methods" in title(
        figures.win_cost_figure(arms, verdicts, payments))


def test_no_title_praises_a_control() -> None:
    arms, verdicts, reader = some(len(NAMES))
    for row in verdicts:
        if row["a"] == "raft_random":
            row |= {"win_rate": 0.9, "holm_p": 0.0}
    for figure in (rates_figure(arms, verdicts, reader),
                   figures.win_cost_figure(arms, verdicts, [])):
        assert title(figure).startswith("No")
        assert "raft_random" not in title(figure)


def test_movements_that_lie_far_apart_are_on_a_logarithmic_axis() -> None:
    arms, *_ = some(6)
    for place, row in enumerate(arms):
        row |= {"kl": 0.1 * 3**place, "kl_low": 0.09 * 3**place, "kl_high": 0.11 * 3**place}
    axis = figures.reward_kl_figure(arms).layout.xaxis
    assert axis.type == "log"
    assert {0.2, 0.5, 1.0, 2.0, 20.0} <= set(axis.tickvals)
    assert axis.range[0] < -1 < np.log10(0.1 * 3**5) < axis.range[1]
    for row in arms:
        row |= {"kl": 1.0 + row["kl"] / 100, "kl_low": 0.9, "kl_high": 1.5}
    assert figures.reward_kl_figure(arms).layout.xaxis.type != "log"


def test_best_of_n_is_a_line_with_its_name_in_the_legend() -> None:
    arms, verdicts, _ = some(6)
    payments = [{"a": name, "b": "sft", "judge": "judge", "n": 200, "win_rate": won}
                for name, won in (("sft+bon4@0.6", 0.66), ("dpo", 0.5), ("dpo+bon4@0.6", 0.64))]
    figure = figures.win_cost_figure(arms, verdicts, payments)
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    assert [name.split(":")[0] for name in lines] == ["SFT best of 4 (T\u00a00.6)",
                                                      "DPO best of 4 (T\u00a00.6)"]
    assert len({trace.line.dash for trace in lines.values()}) == 2
    low, high = figure.layout.yaxis.range
    assert low < 0.64 < 0.66 < high


def test_without_arms_or_scores_the_figures_say_so() -> None:
    arms, verdicts, reader = some(1)
    unscored = [row | dict.fromkeys(("win_rate", "ci_low", "ci_high", "holm_p")) | {"n": 0}
                for row in verdicts]
    assert title(rates_figure(arms, unscored, reader)) == "No method was compared"
    assert title(figures.win_cost_figure(arms, unscored, [])) == "No method was compared"
    assert title(figures.reward_kl_figure([])) == "No arm has a gain to show"
