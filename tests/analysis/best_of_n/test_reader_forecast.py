"""The worlds of notebook 04: what selector and judge cannot tell apart, and the reader can."""

import numpy as np
import pytest

from lib.analysis.best_of_n.curves import best_over_random
from lib.analysis.best_of_n.reader_forecast import (
    agreement_with_reader,
    read_answers,
    reader_forecast,
)
from lib.analysis.best_of_n.selection_effects import best_over_random_rows
from lib.analysis.figures.selection import best_over_random_figure, worlds_figure
from lib.analysis.statistics.selection_law import (
    correlation_at,
    same_pool_win_rate,
    selection_win_rate,
)
from lib.analysis.tables.findings import forecast_findings
from lib.runtime.files import Row

WORLDS = ("quality", "error", "noise")
SHARED = 0.7**0.5  # correlation of selector and judge: .7
READER = 0.4  # the reader's correlation with quality


def scores(random: np.random.Generator, world: str, prompts: int,
           size: int = 4) -> dict[str, np.ndarray]:
    """Scores of selector, judge and reader, [prompts, size]; the reader ties at a floor."""
    quality, error, *own = random.normal(size=(5, prompts, size))
    both = error if world == "error" else quality
    picked = own[0] if world == "noise" else SHARED * both + (1 - SHARED**2)**0.5 * own[0]
    read = READER * quality + (1 - READER**2)**0.5 * own[2] + random.normal(size=(prompts, 1))
    return {"selector": picked, "judge": SHARED * both + (1 - SHARED**2)**0.5 * own[1],
            "reader": np.maximum(read, 0)}


def rows_of(found: dict[str, np.ndarray]) -> list[Row]:
    prompts, size = found["selector"].shape
    return [{"id": str(prompt), "candidates": [
        {"text": f"{prompt} {place}", "rewards": {
            name: float(values[prompt, place]) for name, values in found.items()}}
        for place in range(size)]} for prompt in range(prompts)]


def truth(world: str) -> float:
    """What the best of four wins over a fifth by the reader, ties half, from many draws."""
    found = scores(np.random.default_rng(1), world, 200_000, 5)
    best = np.arange(200_000), found["selector"][:, :4].argmax(axis=1)
    return float(np.mean((np.sign(found["reader"][best] - found["reader"][:, 4]) + 1) / 2))


def test_selector_and_judge_say_the_same_where_both_see_quality_and_where_both_err() -> None:
    """A test of the judge's rate against its correlation has the power of its size."""
    random, explained = np.random.default_rng(0), {}
    for world in WORLDS[:2]:
        verdicts = []
        for _ in range(60):
            found = scores(random, world, 64)
            [row] = best_over_random_rows({("sft", 0.6): rows_of(found)}, ["judge"], 4)
            verdicts.append(row["ci_low"] <= row["arithmetic"] <= row["ci_high"])
        explained[world] = np.mean(verdicts)
    assert explained["quality"] == pytest.approx(explained["error"], abs=0.12)
    assert min(explained.values()) > 0.9  # "selection explains it", also where quality does


@pytest.mark.parametrize("world", WORLDS)
def test_the_forecast_from_120_read_prompts_covers_and_separates_the_worlds(world: str) -> None:
    random, held, gains = np.random.default_rng(0), [], []
    target = truth(world)
    for _ in range(250):
        [row] = reader_forecast(rows_of(scores(random, world, 120)), 4, "reader", "made up")
        held.append(row["ci_low"] <= target <= row["ci_high"])
        gains.append(row["ci_low"] > 0.5)
    assert 0.9 <= np.mean(held) <= 0.99  # three standard errors of 250 draws are .04
    assert np.mean(gains) > 0.95 if world == "quality" else np.mean(gains) < 0.05


def test_the_forecast_follows_from_the_share_of_pairs_that_both_order_alike() -> None:
    rows = rows_of(scores(np.random.default_rng(3), "quality", 50))
    [row] = reader_forecast(rows, 4, "reader", "made up")
    assert (row["answers"], row["reader"], row["n_candidates"], row["prompts"]) == (
        "made up", "reader", 4, 50)
    assert row["agreement"] == pytest.approx(
        np.mean([agreement_with_reader(one, "reader") for one in rows]))
    for rate, share in (("value", "agreement"), ("ci_low", "agreement_low"),
                        ("ci_high", "agreement_high")):
        assert row[rate] == pytest.approx(
            float(selection_win_rate(4, correlation_at(row[share]))))
    assert row["agreement_low"] < row["agreement"] < row["agreement_high"]


@pytest.mark.parametrize("floor", [-9.0, 0.0, 1.0])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5])
def test_the_forecast_is_within_a_point_of_the_truth_whatever_ties_at_the_floor(
        correlation: float, floor: float) -> None:
    random = np.random.default_rng(0)
    selector = random.normal(size=(60_000, 5))
    reader = correlation * selector + (1 - correlation**2)**0.5 * random.normal(size=(60_000, 5))
    reader = np.maximum(reader, floor)
    picked = reader[np.arange(60_000), selector[:, :4].argmax(axis=1)]
    real = np.mean((np.sign(picked - reader[:, 4]) + 1) / 2)
    first, second = (np.sign(each[:, 0] - each[:, 1]) for each in (selector, reader))
    forecast = selection_win_rate(4, correlation_at(np.mean((first * second + 1) / 2)))
    assert float(forecast) == pytest.approx(real, abs=0.01)


def test_the_forecast_hardly_depends_on_which_of_its_pool_is_the_opponent() -> None:
    for correlation in (0.0, 0.3, 0.5):
        assert selection_win_rate(4, correlation) == pytest.approx(
            same_pool_win_rate(4, correlation), abs=0.005)


def test_the_best_of_a_pool_over_one_of_the_pool_follows_simulation() -> None:
    found = scores(np.random.default_rng(0), "quality", 2000)
    simulated = best_over_random(rows_of(found), "judge", 4).mean()
    assert same_pool_win_rate(4, 0.7) == pytest.approx(simulated, abs=0.02)
    assert same_pool_win_rate(4, 0.0) == pytest.approx(0.5)
    assert (same_pool_win_rate(4), same_pool_win_rate(4, -1)) == (0.875, 0.125)


def test_read_answers_of_all_systems_are_one_set_without_duplicates() -> None:
    def row(*answers: tuple[str, float | None]) -> Row:
        return {"id": "p", "candidates": [{"text": text, "rewards": {
            "selector": 1.0, "judge": 0.0, "reader": read}} for text, read in answers]}
    systems = {"sft": [row(("a", 1.0))], "sft+bon2@1": [row(("a ", 1.0), ("b", 2.0), ("c", None))]}
    [found] = read_answers(systems, "reader")
    assert [candidate["text"] for candidate in found["candidates"]] == ["a", "b"]
    assert read_answers({"sft": [row(("a", 1.0))]}, "reader") == []
    assert reader_forecast([found], 4, "reader", "too few") == []


def test_text_and_figures_say_what_the_forecast_says() -> None:
    found = scores(np.random.default_rng(0), "quality", 120)
    forecast = reader_forecast(rows_of(found), 4, "reader", "made up")
    row = forecast[0]
    assert f"That forecasts {row['value']:.2f}".replace("0.", ".") in forecast_findings(forecast)
    assert "no gain is shown" in forecast_findings([row | {"ci_low": 0.4}])
    pools = best_over_random_rows({("sft", 0.6): rows_of(found)}, ["selector", "judge"], 4)
    figure = best_over_random_figure(pools, forecast)
    assert f"{row['value']:.0%} is forecast by the reader" in figure.layout.title.text.replace(
        "<br>", " ")
    assert best_over_random_figure([]).layout.title.text == "No pool was scored by a judge"
    same, other = {"judge": 0.7, "blind reader": 0.6}, {"judge": 0.7, "blind reader": 0.5}
    assert "The judge says 70% in one world and 70% in the other; the blind reader 60% and 50%" in (
        worlds_figure({"A": same, "B": other}).layout.title.text.replace("<br>", " "))
