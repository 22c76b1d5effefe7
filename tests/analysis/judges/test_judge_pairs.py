"""Pairs of judges: what both share beyond the reader is what the second flatters the first by."""

import numpy as np
import pytest

from lib.analysis.figures import judge_pairs_figure
from lib.analysis.judges.judge_pairs import best_of_others, judge_pairs, pairs_alike
from lib.analysis.tables import judge_pairs_table


def test_the_best_of_the_others_against_each_answer_by_hand() -> None:
    picker, judge = np.array([[3.0, 2.0, 1.0]]), np.array([[0.0, 1.0, 1.0]])
    # without the 1st the 2nd is picked and wins; without the 2nd or the 3rd the 1st, which loses
    assert best_of_others(picker, judge) == pytest.approx([1 / 3])


def test_a_picker_that_judges_itself_wins_n_in_n_plus_one() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 5))
    assert best_of_others(scores, scores) == pytest.approx(np.full(50, 4 / 5))


def test_equal_best_answers_are_picked_equally_often() -> None:
    assert best_of_others(np.array([[1.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.5]])) == \
        pytest.approx([(0 + 1 + 0.5) / 3])


def test_pairs_alike_count_a_tie_half() -> None:
    assert pairs_alike([[1, 2, 3]], [[1, 2, 2]]) == pytest.approx((1 + 1 + 0.5) / 3)


def world(error_shared: bool) -> dict[str, np.ndarray]:
    """Two judges that correlate .5 with a reader, and as much with each other beyond it or not."""
    draw = np.random.default_rng(1)
    quality, error = draw.normal(size=(2, 400, 5))
    noise = [error if error_shared else draw.normal(size=(400, 5)) for _ in range(2)]
    judges = [0.5 * quality + np.sqrt(0.75) * (0.95 * each + 0.312 * draw.normal(size=(400, 5)))
              for each in noise]
    return {"picker": judges[0], "other": judges[1], "reader": quality}


def test_a_shared_error_flatters_the_picks_and_a_separate_one_does_not() -> None:
    shared, separate = (judge_pairs(world(flag), "reader")[0] for flag in (True, False))
    assert shared["reader_a"] == pytest.approx(separate["reader_a"], abs=0.05)
    assert shared["partial"] == pytest.approx(0.9, abs=0.03)
    assert separate["partial"] == pytest.approx(0, abs=0.06)
    assert shared["judge_value"] - shared["reader_value"] > 0.1
    assert separate["judge_value"] < separate["reader_value"]  # its own noise only dilutes
    for row in (shared, separate):
        assert row["n_candidates"] == 4
        for who in ("judge", "reader"):
            assert row[f"{who}_forecast"] == pytest.approx(row[f"{who}_value"], abs=0.03)
            assert row[f"{who}_low"] < row[f"{who}_value"] < row[f"{who}_high"]


def test_a_prompt_with_an_unscored_answer_counts_for_nobody() -> None:
    scores = world(True)
    scores["other"][0, 0] = np.nan
    assert judge_pairs(scores, "reader")[0]["prompts"] == 399


def test_table_and_figure_say_who_picks_who_judges_and_what_they_share() -> None:
    rows = judge_pairs(world(True) | {"third": world(False)["other"]}, "reader")
    first = judge_pairs_table(rows).splitlines()[2]
    assert first.startswith("| picker, other | ")
    assert f"{rows[0]['partial']:.2f}".lstrip("0") in first
    figure = judge_pairs_figure(rows)
    assert f"share {rows[0]['partial']:.2f} beyond the reader" in figure.layout.title.text.replace(
        "<br>", " ")
    assert "n = 400 prompts, best of 4" in figure.layout.title.subtitle.text
