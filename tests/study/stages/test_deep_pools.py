"""The long curve: off unless asked for, and reported where something is averaged."""

from pathlib import Path

import pytest

from lib.analysis.best_of_n.curves import curves_by_judge
from lib.study.profiles import ProfileError, load_profile
from lib.study.run import open_study
from lib.study.stages.deep_pools import (
    deep_curves,
    load_deep_pools,
    sample_deep_pools,
    without_deep,
)
from tests.analysis.best_of_n.test_curves import pool


def test_a_long_curve_is_reported_at_doublings_up_to_half_the_pool() -> None:
    pools = {("sft", 0.6): pool(9, size=16), ("dpo", 0.6): pool(10, size=16, shift=0.3)}
    curves = deep_curves(pools)
    for name in ("win_rates", "gains"):
        assert [row["n"] for row in curves_by_judge(curves[name], "dpo")["judge"]] == [1, 2, 4, 8]
    for row in curves["over_optimisation"]:
        assert [point["n"] for point in row["points"]] == [1, 2, 4, 8]
    assert deep_curves({}) == {"win_rates": [], "gains": [], "over_optimisation": []}


def test_the_long_curve_is_off_by_default_and_does_not_make_another_study(tmp_path: Path) -> None:
    study = open_study("smoke", str(tmp_path))
    sample_deep_pools(study)
    assert load_deep_pools(study) == {}
    long = load_profile("laptop", {"evaluation.deep_samples": 64}).evaluation
    assert without_deep(long) == load_profile("laptop").evaluation
    with pytest.raises(ProfileError, match="deep_samples is 1; use 0 for no"):
        load_profile("laptop", {"evaluation.deep_samples": 1})
