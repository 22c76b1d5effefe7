"""What DPO and selection gain together, beyond the sum of what each gains alone."""

import json

import pytest

from lib.analysis import tables
from lib.analysis.best_of_n.selection_effects import complementarity
from lib.analysis.comparisons.scoreboard import scoreboard
from tests.analysis.analysis_rows import system


def test_complementarity_is_the_gain_together_minus_the_gain_apart() -> None:
    systems = {"sft": system([0.0, 1.0]), "dpo": system([1.0, 2.0], "b"),
               "sft+bon4@0.6": system([2.0, 3.0], "c"), "dpo+bon4@0.6": system([4.0, 5.0], "d")}
    names = ("dpo+bon4@0.6", "dpo", "sft+bon4@0.6", "sft")
    row = complementarity(scoreboard(systems, ["judge"]), "judge", *names)
    assert (row["mean"], row["mean_both"], row["n"]) == (1, 4.5, 2)
    systems["dpo"][0]["candidates"][0]["rewards"]["judge"] = None
    row = complementarity(scoreboard(systems, ["judge"]), "judge", *names)
    assert (row["n"], row["missing"]) == (1, 1)
    assert row["gain_with"] - row["gain_without"] == pytest.approx(row["mean"])
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize(("low", "high", "reading"), [
    (-0.1, 0.2, "undecided"), (0.1, 0.2, "complementary"), (-0.2, -0.1, "they overlap")])
def test_an_interaction_is_called_by_its_interval(low: float, high: float, reading: str) -> None:
    row = {"judge": "judge", "n": 64, "gain_with": 0.3, "gain_without": 0.2, "mean": 0.1,
           "low": low, "high": high}
    assert reading in tables.complementarity_table([row])
