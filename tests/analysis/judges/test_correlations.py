"""What two judges share within a prompt, with and without the reader's part."""

import json

import numpy as np
import pytest

from lib.analysis.judges.correlations import (
    correlation_rows,
    correlations,
    partial_correlation,
    within_prompt_moments,
)
from lib.analysis.tables.selection import correlations_table


def test_correlation_within_prompts_ignores_how_hard_a_prompt_is() -> None:
    hard = np.array([[0.0], [100.0]])
    noise = np.array([[1.0, -1.0], [1.0, -1.0]])
    moments = within_prompt_moments([hard + noise, hard - noise])
    assert correlations(moments)[:, 0, 1].tolist() == pytest.approx([-1, -1])
    flat = within_prompt_moments([[[1.0, 1.0]], [[1.0, 2.0]]])
    assert np.isnan(correlations(flat)[0, 0, 1])
    assert np.isnan(within_prompt_moments([[[np.nan, np.nan]], [[1.0, 2.0]]])).all()
    holes = within_prompt_moments([[[1.0, 2.0, np.nan]], [[2.0, 4.0, 9.0]]])
    assert correlations(holes)[0, 0, 1] == pytest.approx(1)


@pytest.mark.parametrize(("shared", "left"), [(0.0, 0.0), (0.7, 0.7**2 / (0.7**2 + 0.51))])
def test_judges_without_a_shared_error_share_nothing_beyond_the_reader(shared: float,
                                                                       left: float) -> None:
    random = np.random.default_rng(0)
    reader, error, *own = random.normal(size=(4, 3000, 5))
    judges = [reader + shared * error + np.sqrt(0.51) * each for each in own]
    rows = correlation_rows({"one": judges[0], "other": judges[1], "reader": reader}, "reader",
                            resamples=200)
    assert rows[0]["partial"] == pytest.approx(left, abs=0.03)
    assert rows[0]["partial_low"] < rows[0]["partial"] < rows[0]["partial_high"]
    assert (rows[0]["prompts"], rows[0]["answers_scored"]) == (3000, 15_000)
    assert rows[1]["partial"] is None
    table = correlations_table([{"answers": "made up"} | row for row in rows])
    assert "| made up | one, other | 3,000 | 15,000 |" in table
    json.dumps(rows, allow_nan=False)


def test_judges_of_whom_the_reader_explains_one_entirely_share_nothing_else() -> None:
    """There is no rest to compare: the partial correlation is missing, not some number."""
    reader, other = np.random.default_rng(0).normal(size=(2, 20, 4))
    [row, *_] = correlation_rows({"twin": 2 * reader, "other": other, "reader": reader}, "reader")
    assert (row["judge_a"], row["judge_b"]) == ("twin", "other")
    assert -1 < row["correlation"] < 1
    assert partial_correlation([0.4, 0.5], [1.0, 0.5], [0.4, 0.5]).tolist() == [
        pytest.approx(np.nan, nan_ok=True), pytest.approx(1 / 3)]


def test_a_judge_that_scores_all_alike_has_no_correlation() -> None:
    scores = np.random.default_rng(0).normal(size=(20, 4))
    [row] = correlation_rows({"flat": np.ones((20, 4)), "reader": scores}, "reader")
    assert (row["correlation"], row["ci_low"]) == (None, None)
