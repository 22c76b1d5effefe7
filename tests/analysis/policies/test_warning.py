"""The warning's two-by-two: which factor lowers the answers' score, by interval."""

import re

import numpy as np
import pytest

from lib.analysis.figures import warning_figure
from lib.analysis.policies.warning import (
    factor_effects,
    harmful,
    probe_change,
    probe_intervals,
    warning_cell,
)
from lib.analysis.tables import warning_table
from lib.analysis.tables.findings import dpo_findings, warning_findings
from lib.runtime.files import Row

PROMPTS = 32
LEVELS = np.random.default_rng(0).normal(0, 1, PROMPTS)  # prompts differ more than runs do
ACCURATE = [{"prompt": n, "chosen": 1.0, "rejected": 0.0} for n in range(PROMPTS)]


def probe(step: int, shift: float, seed: int) -> Row:
    scores = LEVELS + shift + np.random.default_rng(seed).normal(0, 0.3, PROMPTS)
    return {"split": "samples", "step": step, "n": PROMPTS, "judge_score": float(scores.mean()),
            "judge_scores": scores.tolist(), "repetition": 0.1, "repetitions": [0.0, 0.2] * 16}


def cells(own_low: float, own_high: float, written_low: float, written_high: float) -> list[Row]:
    shifts = {("on_policy", "low"): own_low, ("on_policy", "high"): own_high,
              ("written", "low"): written_low, ("written", "high"): written_high}
    return [warning_cell(f"{kind}_{rate}", kind, 1e-4 if rate == "high" else 2e-5,
                         [probe(0, 0.0, 9), probe(12, shift, number)], ACCURATE)
            for number, ((kind, rate), shift) in enumerate(shifts.items())]


@pytest.mark.parametrize(("shifts", "found", "words"), [
    ((0.0, 0.0, 0.0, 0.0), [], "Harm is shown neither of the kind of pairs nor"),
    ((0.0, 0.0, -1.0, -1.0), ["pairs"], "The kind of pairs does harm; of the learning rate"),
    ((0.0, -1.0, 0.0, -1.0), ["rate"], "The learning rate does harm; of the kind of pairs"),
    ((0.0, -0.7, -0.7, -1.4), ["pairs", "rate"], "Both the kind of pairs and the learning rate"),
    ((0.5, 0.0, 0.5, 0.0), ["rate"], "The learning rate does harm")])
def test_the_factor_that_does_harm_is_named_by_its_interval(
        shifts: tuple[float, ...], found: list[str], words: str) -> None:
    made = cells(*shifts)
    effects = factor_effects(made)
    assert harmful(effects) == found
    assert words in warning_findings({"cells": made, "effects": effects})


def test_a_harm_of_both_together_is_seen_in_the_interaction() -> None:
    effects = factor_effects(cells(0.0, 0.0, 0.0, -2.0))
    assert effects["interaction"]["high"] < -1.5
    assert effects["pairs"]["mean"] == pytest.approx(-1.0, abs=0.2)


@pytest.mark.parametrize(("shifts", "words"), [
    ((0.0, 0.0, 0.0, -2.0), "so the two do not simply add up"),
    ((0.0, 0.0, -2.0, 0.0), "so the two do not simply add up"),
    ((0.0, -0.7, -0.7, -1.4), "which may be nothing")])
def test_what_the_two_factors_do_together_is_called_by_its_interval(
        shifts: tuple[float, ...], words: str) -> None:
    made = cells(*shifts)
    assert words in warning_findings({"cells": made, "effects": factor_effects(made)})


def test_of_fewer_than_four_runs_nothing_is_said() -> None:
    made = cells(0.0, 0.0, 0.0, -2.0)[:3]
    assert warning_findings({"cells": made, "effects": factor_effects(made)}) == (
        "The four runs are not complete, so nothing can be said of them.")


def test_a_prompt_without_a_score_is_left_out_and_counted() -> None:
    made = cells(0.0, 0.0, 0.0, 0.0)
    made[2]["scores"][5] = None
    assert factor_effects(made)["pairs"]["n"] == PROMPTS - 1
    assert factor_effects(made[:3]) == {}


def test_every_cell_of_table_and_figure_has_its_interval_and_hidden_harm_is_told() -> None:
    made = cells(0.0, 0.0, 0.0, -2.0)
    text = warning_findings({"cells": made, "effects": factor_effects(made)})
    assert "lies below zero: written pairs at 0.0001: accuracy 1.00 [" in text
    assert warning_table(made).count("[") == 5 * (4 + 1)  # of four runs, and the heads
    figure = warning_figure(made)
    assert all(trace.error_y.array is not None for trace in figure.data)
    title, subtitle = (part.text.replace("<br>", " ") for part in (
        figure.layout.title, figure.layout.title.subtitle))
    assert "written pairs at a learning rate of 0.0001" in title
    assert "n = 32 validation pairs and 32 fresh answers" in subtitle


def test_a_probe_tells_its_interval_and_not_its_values() -> None:
    row = probe_intervals(probe(0, 0.0, 1))
    assert row["judge_score_low"] < row["judge_score"] < row["judge_score_high"]
    assert "judge_scores" not in row
    assert probe_intervals({"judge_score": 1.0}) == {"judge_score": 1.0}  # of an older run


def test_a_change_of_the_answers_is_told_with_its_interval_and_not_called_a_fall() -> None:
    """The scores of the two probes differ by noise alone."""
    said = dpo_findings([probe(0, 0.0, 1), probe(12, -0.01, 2)])
    assert "fresh validation answers goes from " in said
    assert re.search(r"a change of -?\.\d\d \[-\.\d\d, \.\d\d\] paired by prompt", said)
    assert "falls" not in said


def test_a_change_is_paired_by_prompt_so_that_what_prompts_differ_in_drops_out() -> None:
    before, after = probe(0, 0.0, 1), probe(12, -1.0, 1)
    assert probe_change([before, after]) == pytest.approx(
        {"mean": -1.0, "low": -1.0, "high": -1.0, "n": PROMPTS})
    after["judge_scores"][3] = None
    assert probe_change([before, after])["n"] == PROMPTS - 1
