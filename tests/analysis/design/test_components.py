"""The parts of a win rate's variance are found again, and say what an effect needs."""

import json
from statistics import NormalDist

import numpy as np
import pytest

from lib.analysis.comparisons.candidates import candidate_board
from lib.analysis.design.components import (
    SEEN,
    rate_variance,
    refit_rows,
    sample_sizes,
    split_variance,
    variance_components,
    variance_summary,
    with_all_parts,
)
from lib.analysis.tables.design import components_table, refits_finding, sample_sizes_table
from lib.data.sources import load_scored
from lib.runtime.files import Row

AUDIT = load_scored("audit")
PARTS = {"a": "dpo", "b": "sft", "judge": "judge", "best_of": 1, "prompts": 64, "candidates": 4,
         "rate": 0.55, "prompt_variance": 0.01, "draw_variance": 0.16}


def pool(random: np.random.Generator, prompts: int, size: int,
         shift: float | np.ndarray) -> list[Row]:
    scores = random.normal(size=(prompts, size)) + np.reshape(shift, (-1, 1))
    return [{"id": str(place), "candidates": [
        {"text": f"{place} {number} {shift}", "rewards": {"selector": score, "judge": score}}
        for number, score in enumerate(line)]} for place, line in enumerate(scores.tolist())]


def test_prompts_and_draws_are_told_apart() -> None:
    """Prompts differ in how much one side is ahead; without that nothing lies between them."""
    random = np.random.default_rng(0)
    ahead = random.normal(0.3, 1.0, 1500)
    real = np.var([NormalDist().cdf(each / 2**0.5) for each in ahead])
    sft = pool(random, 1500, 4, 0.0)
    pools = {("sft", 0.6): sft, ("dpo", 0.6): pool(random, 1500, 4, ahead)}
    [row] = variance_components(pools, 0.6, "judge", [("dpo", "sft"), ("sft", "base")])
    assert row["prompt_variance"] == pytest.approx(real, abs=0.01)
    [even] = variance_components(pools | {("dpo", 0.6): pool(random, 1500, 4, 0.1)}, 0.6, "judge",
                                 [("dpo", "sft")])
    assert even["prompt_variance"] < 0.005


def test_the_parts_give_the_error_of_a_rate_over_all_pairs() -> None:
    random, rates, said = np.random.default_rng(0), [], []
    for _ in range(200):
        sft, dpo = (pool(random, 32, 4, shift) for shift in (0.0, 0.2))
        pools = {("sft", 1.0): sft, ("dpo", 1.0): dpo}
        rates.append(candidate_board(pools, ["judge"], 1.0).matches("judge", "dpo", "sft")
                     .values.mean())
        [row] = variance_components(pools, 1.0, "judge", [("dpo", "sft")])
        said.append(rate_variance(row | {"seed_sd": None}, 32, 4))
    assert np.mean(said) == pytest.approx(np.var(rates), rel=0.35)
    assert np.mean(said) > 0.9 * np.var(rates)


def test_best_of_n_picks_from_half_of_a_pool_and_its_own_pool_needs_six() -> None:
    random = np.random.default_rng(0)
    pools = {("sft", 0.6): pool(random, 30, 8, 0.0), ("dpo", 0.6): pool(random, 30, 3, 0.0)}
    pairs = [("sft+bon4@0.6", "sft"), ("dpo+bon4@0.6", "dpo"), ("dpo+bon4@0.6", "sft")]
    rows = variance_components(pools, 0.6, "judge", pairs)
    assert [(row["a"], row["best_of"], row["candidates"]) for row in rows] == [
        ("sft+bon4@0.6", 3, 8), ("dpo+bon4@0.6", 1, 2)]
    assert rows[0]["rate"] == pytest.approx(0.75)  # its own score judges: arithmetic
    pools["sft", 0.6][0]["candidates"][0]["rewards"]["judge"] = None
    assert variance_components(pools, 0.6, "judge", pairs)[0]["prompts"] == 29


def test_equal_halves_leave_all_variance_to_the_prompts() -> None:
    found = split_variance(np.array([[0.2, 0.2], [0.8, 0.8], [0.5, 0.5]]), 2)
    assert found["draw_variance"] == 0
    assert found["prompt_variance"] == pytest.approx(0.09)


def test_a_fit_that_shifts_all_prompts_is_a_floor_and_noise_on_each_is_not() -> None:
    random, fits = np.random.default_rng(0), []
    reader = [[answer["score"] for answer in row["answers"]] for row in AUDIT]
    place = {name: [(row["answers"].index(answer)) for row in AUDIT for answer in row["answers"]
                    if (answer["system"], answer["selected"]) == (name, "first")]
             for name in ("sft", "dpo")}
    shifted = []
    for _ in range(40):
        noise = [[score + random.normal(0, 3) for score in line] for line in reader]
        fits.append(noise)
        lift = random.normal(0, 1.5)
        shifted.append([[score + lift * (column == where) for column, score in enumerate(line)]
                        for line, where in zip(noise, place["dpo"], strict=True)])
    [alone] = refit_rows(AUDIT, fits, "judge", [("dpo", "sft"), ("dpo+bon9@9", "sft")])
    [moved] = refit_rows(AUDIT, shifted, "judge", [("dpo", "sft")])
    assert alone["floor"] < 0.5 * alone["sd"]
    assert moved["floor"] > 0.8 * moved["sd"] > alone["sd"]
    assert (alone["refits"], alone["n"]) == (40, 120)


def test_more_prompts_do_not_lower_what_the_judges_fit_adds() -> None:
    refits = [{"a": "dpo", "b": "sft", "judge": "judge", "sd": 0.03, "floor": 0.02, "refits": 50,
               "n": 120}]
    [parts] = with_all_parts([PARTS], refits, [])
    assert parts["standard_error"] == pytest.approx(((0.01 + 0.16 / 4) / 64) ** 0.5)
    assert parts["smallest"] == pytest.approx(SEEN * parts["standard_error"])
    assert parts["smallest_any"] == pytest.approx(
        SEEN * (parts["standard_error"] ** 2 + 0.02**2) ** 0.5)
    sizes = {(row["effect"], row["candidates"]): row for row in sample_sizes([parts])}
    assert sizes[0.05, 4]["prompts_any"] is None  # 2.8 standard deviations of .02 are .056
    assert sizes[0.1, 4]["prompts_any"] > sizes[0.1, 4]["prompts"]
    assert sizes[0.05, 8]["prompts"] == pytest.approx((0.01 + 0.02) / (0.05 / SEEN) ** 2, abs=1)
    assert sizes[0.05, 8]["seeds"] is None
    assert "no number of prompts would bring that below .020" in refits_finding(refits)
    assert "was not measured" in refits_finding([])


def test_seeds_are_asked_for_where_trainings_differ() -> None:
    seeds = [{"a": "dpo", "b": "sft", "judge": "judge", "seeds": 3, "n": 64, "between_seeds": 0.06}]
    summary = variance_summary([PARTS], [], seeds)
    [parts] = summary["parts"]
    assert parts["seed_sd"] == pytest.approx((0.06**2 - 0.16 / 4 / 64) ** 0.5)
    needed = {row["effect"]: row["seeds"] for row in summary["sizes"]}
    assert needed[0.03] > needed[0.05] > needed[0.1] >= 1
    assert rate_variance(parts, 10**9, 4, seeds=4) == pytest.approx(parts["seed_sd"] ** 2 / 4)
    quiet = with_all_parts([PARTS], [], [seeds[0] | {"between_seeds": 0.02}])[0]
    assert quiet["seed_sd"] == 0  # less than the draws alone would give
    assert parts["judge_sd"] is None
    assert {row["prompts_any"] for row in summary["sizes"]} == {None}
    json.dumps(summary, allow_nan=False)


def test_tables_say_what_one_run_cannot_know() -> None:
    summary = variance_summary([PARTS], [], [])
    assert "one run: unknown" in components_table(summary["parts"])
    table = sample_sizes_table(summary["sizes"])
    assert "| comparison and effect | 4 candidates a side | 8 candidates a side |" in table
    assert "dpo over sft, .05, seeds: unknown from one | 157 / – |" in table
    assert components_table([]) == sample_sizes_table([])
