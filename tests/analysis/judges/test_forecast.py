"""What a reader would say of a comparison that the judge alone has seen."""

import json

import numpy as np
import pytest
from statsmodels.api import OLS

from lib import ROOT
from lib.analysis.judges.forecast import forecast, reader_line
from lib.inference.rewards import OWN_READER

JUDGED = [0.42, 0.5, 0.56, 0.64, 0.7]


def rows(judged: list[float], read: list[float]) -> list[dict]:
    found = []
    for place, (one, other) in enumerate(zip(judged, read, strict=True)):
        pair = {"a": f"a{place}", "b": "sft", "n": 64}
        found += [pair | {"judge": "judge", "win_rate": one},
                  pair | {"judge": OWN_READER, "win_rate": other},
                  pair | {"judge": "selector", "win_rate": 0.99}]
    return found


def test_a_reader_who_follows_the_judge_half_way_is_forecast_exactly() -> None:
    line = reader_line(rows(JUDGED, [0.5 + 0.5 * (rate - 0.5) for rate in JUDGED]), OWN_READER)
    assert line["slope"] == pytest.approx(0.5)
    assert line["comparisons"] == line["held"] == 5
    assert (line["fewest"], line["most"]) == (64, 64)
    found = forecast(line, 0.8)
    assert [found[key] for key in ("low", "forecast", "high")] == pytest.approx([0.65] * 3)


def test_which_system_is_named_first_makes_no_difference() -> None:
    read = [0.48, 0.52, 0.5, 0.61, 0.58]
    turned = rows([1 - rate if place % 2 else rate for place, rate in enumerate(JUDGED)],
                  [1 - rate if place % 2 else rate for place, rate in enumerate(read)])
    one, other = reader_line(rows(JUDGED, read), OWN_READER), reader_line(turned, OWN_READER)
    assert one == pytest.approx(other)
    up, down = forecast(one, 0.6), forecast(one, 0.4)
    assert up["forecast"] == pytest.approx(1 - down["forecast"])
    assert up["low"] == pytest.approx(1 - down["high"])


def test_a_judge_that_sees_nothing_leaves_the_forecast_near_one_half() -> None:
    line = reader_line(rows([0.3, 0.7, 0.3, 0.7], [0.6, 0.6, 0.4, 0.4]), OWN_READER)
    found = forecast(line, 0.9)
    assert found["forecast"] == pytest.approx(0.5)
    assert found["low"] < 0.4 < 0.6 < found["high"]


@pytest.mark.parametrize("judged", [[], [0.6], [0.6, 0.7], [0.5, 0.5, 0.5]])
def test_too_few_comparisons_or_ties_alone_give_no_forecast(judged: list[float]) -> None:
    line = reader_line(rows(judged, judged), OWN_READER)
    assert line == {}
    assert forecast(line, 0.6) == {"forecast": None, "low": None, "high": None}


def test_a_comparison_without_the_judge_or_the_reader_does_not_count() -> None:
    known = rows(JUDGED, JUDGED)
    alone = [{"a": "x", "b": "sft", "judge": judge, "win_rate": 0.01, "n": 9}
             for judge in ("judge", "selector")]
    assert reader_line([*known, *alone], OWN_READER) == reader_line(known, OWN_READER)
    assert forecast(reader_line(known, OWN_READER), None)["forecast"] is None


def test_two_judges_alone_make_the_line_and_a_third_one_nothing_else() -> None:
    known = rows(JUDGED, [0.48, 0.52, 0.5, 0.61, 0.58])
    two = [row for row in known if row["judge"] != "selector"]
    assert reader_line(two, OWN_READER) == reader_line(known, OWN_READER)


def test_a_forecast_is_the_prediction_of_a_regression_through_the_origin() -> None:
    read = np.array([0.48, 0.52, 0.5, 0.61, 0.58])
    fit = OLS(read - 0.5, np.array(JUDGED) - 0.5).fit()
    found = forecast(reader_line(rows(JUDGED, read.tolist()), OWN_READER), 0.66)
    expected = fit.get_prediction([[0.16]]).summary_frame().iloc[0]
    assert [found[key] - 0.5 for key in ("forecast", "low", "high")] == pytest.approx(
        [expected[key] for key in ("mean", "obs_ci_lower", "obs_ci_upper")])


def test_the_interval_covers_what_the_reader_says_of_a_further_comparison() -> None:
    random, inside, number = np.random.default_rng(0), 0, 600
    for _ in range(number):
        judged = random.uniform(0.4, 0.7, 13)
        read = 0.5 + 0.8 * (judged - 0.5) + random.normal(0, 0.04, 13)
        found = forecast(reader_line(rows(judged[:12], read[:12]), OWN_READER), judged[12])
        inside += found["low"] <= read[12] <= found["high"]
    assert 0.93 < inside / number < 0.97


def test_a_rate_stays_between_0_and_1() -> None:
    line = reader_line(rows([0.4, 0.6, 0.7], [0.2, 0.9, 0.95]), OWN_READER)
    found = forecast(line, 1.0)
    assert found["high"] == 1.0
    assert found["low"] >= 0.0


def test_the_recorded_comparisons_lie_in_the_forecasts_that_the_others_make() -> None:
    results = json.loads((ROOT / "figures" / "results.json").read_text(encoding="utf-8"))
    line = reader_line(results["reader"]["same_answers"], OWN_READER)
    assert line["comparisons"] == 12
    assert line["held"] >= 11
    assert 0.5 < line["slope"] < 1
