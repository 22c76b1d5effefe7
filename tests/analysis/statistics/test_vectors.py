"""Every statistic against the numbers of methods_vectors.json (computed in plain float64)."""

import json
from typing import Any

import pytest

from lib import ROOT
from lib.analysis.statistics import (
    exponential_moving_average,
    win_rate,
)
from lib.analysis.statistics.outcomes import compare_scores

VECTORS = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())


def vector(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return VECTORS[name]["in"], VECTORS[name]["out"]


def exactly(expected: object) -> object:
    return pytest.approx(expected, abs=1e-9)


def test_a_win_rate_counts_ties_as_half() -> None:
    given, expected = vector("5_winrate")
    assert win_rate(given["score_A"], given["score_B"]) == exactly(expected["win_rate"])
    outcomes = compare_scores(given["score_A"], given["score_B"])
    assert outcomes.tolist() == expected["per_prompt"]
    variance = vector("5_ties_variance")[1]
    assert outcomes.var(ddof=1) == exactly(variance["sample_var_ddof1"])


def test_the_smoothed_curve_is_tensorboards() -> None:
    given, expected = vector("7_ema")
    smoothed = exponential_moving_average(given["x"], given["smoothing"])
    assert smoothed == exactly(expected["tensorboard_debiased"])
