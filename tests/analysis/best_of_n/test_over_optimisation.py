"""Gao's fit: the methods sheet, a world that turns down, one that does not, and what has no fit."""

import json

import numpy as np
import pytest

from lib import ROOT
from lib.analysis.best_of_n.curves import gain_rows
from lib.analysis.best_of_n.over_optimisation import fit_gains, over_optimisation_rows
from lib.analysis.figures import over_optimisation_figure
from lib.analysis.tables import over_optimisation_table
from lib.inference.best_of_n import kl_bound
from lib.runtime.files import Row

VECTOR = json.loads((ROOT / "tests" / "methods_vectors.json").read_text())["4_gao_fit"]
ROLES = ["selector", "judge"]


def pool(prompts: int, size: int, flaw: float, seed: int = 0) -> list[Row]:
    """Answers whose true score the selector shares, but for a flaw that grows with its own score.

    flaw 0: what the selector adds, the judge keeps. flaw 1: at the top the judge loses twice that.
    """
    random = np.random.default_rng(seed)
    rows = []
    for prompt in range(prompts):
        proxy = random.normal(size=size)
        gold = proxy - 2 * flaw * np.maximum(proxy - 0.8, 0) + 0.3 * random.normal(size=size)
        rows.append({"id": f"p{prompt}", "candidates": [
            {"text": str(k), "rewards": {"selector": float(a), "judge": float(b)}}
            for k, (a, b) in enumerate(zip(proxy, gold, strict=True))]})
    return rows


def judged(rows: list[Row]) -> Row:
    return next(row for row in rows if row["judge"] == "judge")


def fitted(rows: list[Row], most: int = 32) -> list[Row]:
    return over_optimisation_rows({("dpo", 0.6): rows}, ROLES, most, 400)


def test_the_fit_and_its_peak_are_those_of_the_methods_sheet() -> None:
    expected = VECTOR["out"]
    distance = np.sqrt(kl_bound(VECTOR["in"]["n"]))
    assert distance == pytest.approx(expected["d"])
    fit = fit_gains(distance, VECTOR["in"]["gold"])
    assert fit.alpha == pytest.approx(expected["alpha"], abs=1e-9)
    assert fit.beta == pytest.approx(expected["beta"], abs=1e-9)
    assert fit.peak == pytest.approx(expected["d_peak"], abs=1e-9)
    assert fit.gain(fit.peak) == pytest.approx(expected["R_peak"], abs=1e-9)


def test_a_fit_of_its_own_curve_is_exact_and_a_curve_that_only_rises_has_no_peak() -> None:
    distance = np.linspace(0, 2, 6)
    fit = fit_gains(distance, distance * (1.5 - 0.4 * distance))
    assert (fit.alpha, fit.beta) == (pytest.approx(1.5), pytest.approx(0.4))
    assert np.isinf(fit_gains(distance, distance * (1 + 0.1 * distance)).peak)
    assert np.isnan(fit_gains([0.0, 0.0], [0.0, 0.0]).alpha)


def test_the_points_of_a_fit_are_those_of_the_gain_curve() -> None:
    rows = pool(20, 64, flaw=0.5)
    curve = {row["n"]: row["value"] for row in gain_rows({("dpo", 0.6): rows}, ["judge"])}
    points = judged(fitted(rows))["points"]
    assert [point["n"] for point in points] == [1, 2, 4, 8, 16, 32]
    assert fitted(rows[:1]) == [] != fitted(rows[:2])  # one prompt has no interval
    for point in points:
        assert point["value"] == pytest.approx(curve[point["n"]], abs=1e-9)
        assert point["ci_low"] <= point["value"] <= point["ci_high"]


def test_a_selector_with_a_flaw_at_the_top_turns_the_judges_curve_down_and_not_its_own() -> None:
    rows = fitted(pool(60, 64, flaw=1.0))
    row = judged(rows)
    assert row["beta_low"] > 0
    assert 0 < row["peak_distance"] < row["points"][-1]["distance"]
    assert row["peak_gain"] == pytest.approx(row["peak_distance"] * row["alpha"] / 2)
    assert row["peak_inside"] > 0.95
    assert next(row for row in rows if row["judge"] == "selector")["peak_distance"] is None
    title = over_optimisation_figure(rows).layout.title.text.replace("<br>", " ")
    assert "more candidates stop paying" in title
    assert f"({row['peak_gain']:.2f})".replace("(", "(gain ") in over_optimisation_table(rows)


def test_without_a_flaw_there_is_no_peak_in_the_table_or_the_title() -> None:
    rows = fitted(pool(60, 64, flaw=0.0))
    row = judged(rows)
    assert (row["peak_distance"], row["peak_gain"]) == (None, None)
    assert "not in range" in over_optimisation_table(rows)
    title = over_optimisation_figure(rows).layout.title.text
    assert "peaks" not in title
    json.dumps(rows, allow_nan=False)


def test_the_kl_is_below_its_bound_and_far_below_where_scores_repeat() -> None:
    rows = pool(8, 64, flaw=0.0)
    distinct = judged(fitted(rows))["points"]
    assert [point["n"] for point in distinct] == [1, 2, 4, 8, 16, 32]
    for point in distinct:
        assert point["kl_bound"] - 0.12 < point["kl"] <= point["kl_bound"]
        assert point["distance"] == pytest.approx(np.sqrt(point["kl"]))
        assert point["ci_low"] <= point["value"] <= point["ci_high"]
    twice = [{**row, "candidates": [row["candidates"][k % 4] for k in range(64)]} for row in rows]
    repeated = judged(fitted(twice))["points"]
    assert repeated[-1]["kl"] == pytest.approx(np.log(4), abs=0.01)
    assert repeated[-1]["kl"] < distinct[-1]["kl"] / 1.5


@pytest.mark.parametrize(("rows", "most"), [
    (pool(8, 8, 0.0), 4),  # n = 1, 2, 4 alone
    (pool(1, 64, 0.0), 32),  # one prompt to resample
    ([{**row, "candidates": [row["candidates"][0]] * 64} for row in pool(8, 64, 0.0)], 32)])
def test_what_cannot_be_fitted_has_no_row_and_the_table_says_so(rows: list[Row],
                                                                 most: int) -> None:
    found = fitted(rows, most)
    assert found == []
    assert over_optimisation_table(found).startswith("No long curve")
    assert "No long pool" in over_optimisation_figure(found).layout.title.text


def test_a_prompt_with_a_missing_score_is_left_out_and_counted() -> None:
    rows = pool(8, 64, 0.0)
    rows[2]["candidates"][5]["rewards"]["judge"] = None
    found = {row["judge"]: row for row in fitted(rows)}
    assert (found["judge"]["prompts"], found["judge"]["left_out"]) == (7, 1)
    assert (found["selector"]["prompts"], found["selector"]["left_out"]) == (8, 0)
