"""Two readers' agreement, against direct computations and in simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import pearsonr, t

from lib.analysis.judges.reliability import SCALE, reliability


def readings(prompts: int, answers: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two noisy readings in halves of answers with a floor, and each answer's prompt."""
    random = np.random.default_rng(seed)
    quality = random.normal(2, 0.7, (prompts, 1)) + random.normal(0, 0.6, (prompts, answers))
    one, other = (np.clip(np.round(2 * (quality + random.normal(0, 0.25, (prompts, 1))
                                        + random.normal(0, 0.35, quality.shape))) / 2, 1, 10)
                  for _ in range(2))
    return one.ravel(), other.ravel(), np.repeat([f"p{n}" for n in range(prompts)], answers)


def test_every_figure_is_that_of_a_direct_computation() -> None:
    one, other, prompts = readings(12, 6, seed=1)
    row = reliability(one, other, prompts)
    assert (row["n"], row["prompts"]) == (72, 12)
    assert row["pearson"] == pytest.approx(pearsonr(one, other).statistic)
    centred = [np.concatenate([scores[prompts == p] - scores[prompts == p].mean()
                               for p in dict.fromkeys(prompts)]) for scores in (one, other)]
    assert row["within"] == pytest.approx(pearsonr(*centred).statistic)
    assert row["difference"] == pytest.approx(np.mean(other - one))
    pairs = [(one[i] - one[j], other[i] - other[j]) for i, j in combinations(range(72), 2)
             if prompts[i] == prompts[j]]
    apart = [(x, y) for x, y in pairs if x and y]
    assert row["pairs"] == len(apart)
    assert row["same_order"] == pytest.approx(np.mean([x * y > 0 for x, y in apart]))
    seen, chance = np.abs(one - other).mean(), np.abs(one[:, None] - other).mean()
    assert row["kappa"] == pytest.approx(1 - seen / chance)  # linear weights: mean distances


def test_an_interval_is_the_jackknife_over_prompts_on_fishers_scale() -> None:
    one, other, prompts = readings(12, 6, seed=4)
    row = reliability(one, other, prompts)
    left_out = np.arctanh([pearsonr(one[prompts != p], other[prompts != p]).statistic
                           for p in dict.fromkeys(prompts)])
    reach = t.ppf(0.975, 11) * np.sqrt(11 * left_out.var())
    assert np.arctanh([row["pearson_low"], row["pearson_high"]]) == pytest.approx(
        np.arctanh(row["pearson"]) + np.array([-reach, reach]))


def test_equal_readings_agree_without_doubt() -> None:
    one, _, prompts = readings(5, 6, seed=2)
    row = reliability(one, one, prompts)
    assert [row[key] for key in ("pearson", "within", "kappa", "same_order")] == [1] * 4
    assert row["difference"] == row["difference_high"] == 0


def test_a_prompts_level_counts_for_all_answers_and_not_within_prompts() -> None:
    prompts = np.repeat(np.arange(8), 4)
    level = np.repeat(np.linspace(1, 8, 8), 4)
    apart = np.tile([0, 0.5, 1, 1.5], 8)
    row = reliability(level + apart, level + apart[::-1], prompts)
    assert row["pearson"] > 0.8
    assert row["within"] == -1
    assert row["same_order"] == 0


def test_readers_who_never_vary_have_no_correlation() -> None:
    row = reliability([1.0] * 4, [1.0] * 4, ["a", "a", "b", "b"])
    assert (row["pearson"], row["within"], row["kappa"], row["same_order"]) == (None,) * 4
    assert (row["n"], row["pairs"], row["difference"]) == (4, 0, 0)


def test_nothing_read_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="no answer was scored by both"):
        reliability([], [], [])


def test_the_intervals_of_ten_prompts_cover_what_many_prompts_say() -> None:
    """150 repetitions: a coverage of .95 has a Monte-Carlo error of .018."""
    many = reliability(*readings(400, 7, seed=3))
    names = ("pearson", "within", "kappa", "same_order")
    rows = [reliability(*readings(10, 7, seed=100 + number)) for number in range(150)]
    for name in names:
        covered = np.mean([row[f"{name}_low"] <= many[name] <= row[f"{name}_high"]
                           for row in rows])
        assert 0.89 < covered < 0.99, name


def test_the_scale_is_one_to_ten_in_halves() -> None:
    assert (SCALE[0], SCALE[-1], len(SCALE)) == (1, 10, 19)
