"""Folded calibration against the published vector."""

import json
from pathlib import Path

import numpy as np
import pytest

from lib.inference.rewards.calibration import calibration

VECTOR = json.loads(
    (Path(__file__).parents[1] / "methods_vectors.json").read_text())["5_ece"]


def test_ece_nll_brier_and_temperature_are_the_published_ones() -> None:
    found = calibration(np.array(VECTOR["in"]["reward_diff_chosen_minus_rejected"]), bins=5)
    expected = VECTOR["out"]
    assert found.ece == pytest.approx(expected["ece"], abs=1e-10)
    assert found.nll == pytest.approx(expected["nll"], abs=1e-10)
    assert found.brier == pytest.approx(expected["brier"], abs=1e-10)
    assert found.temperature == pytest.approx(expected["fitted_temperature"], abs=1e-6)
    assert found.nll_at_temperature == pytest.approx(expected["nll_at_fitted"], abs=1e-10)
    table = [[row[key] for key in ("low", "high", "n", "confidence", "hits")]
             for row in found.bins]
    assert np.array(table) == pytest.approx(np.array(expected["bins"]), abs=1e-10)


def test_scores_twice_as_large_as_they_should_be_get_temperature_two() -> None:
    draw = np.random.default_rng(0)
    honest = draw.normal(scale=2, size=20_000)
    chosen_first = np.where(draw.random(20_000) < 1 / (1 + np.exp(-honest)), honest, -honest)
    assert calibration(chosen_first).ece < 0.01
    assert calibration(2 * chosen_first).temperature == pytest.approx(2, rel=0.05)
    assert calibration(2 * chosen_first).ece > 0.05


def test_equal_scores_are_confidence_one_half_and_half_a_hit() -> None:
    found = calibration(np.zeros(10))
    assert found.ece == 0
    assert found.bins == [{"low": 0.5, "high": 0.6, "n": 10, "confidence": 0.5, "hits": 0.5}]
