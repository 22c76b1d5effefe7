"""An answer that a server did not give: no text, no tie, no length, no broken constraint."""

import json

import numpy as np
import pytest

from lib.analysis.best_of_n.curves import cost_rows
from lib.analysis.best_of_n.selection_effects import complementarity
from lib.analysis.comparisons.candidates import candidate_board
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows, round_robin
from lib.analysis.exports.formats import alpaca_eval_outputs, leaderboard_rows
from lib.analysis.figures.comparisons import win_rates_figure
from lib.analysis.figures.ratings import ratings_figure, round_robin_figure
from lib.analysis.judges.quality import judge_agreement
from lib.analysis.tables import complementarity_table, win_rate_table
from lib.analysis.tables.formatting import verdict_lines
from lib.analysis.texts.constraints import constraint_checks
from lib.analysis.texts.metrics import text_metrics
from lib.inference.api.replies import missing_candidate
from lib.inference.rewards import ROLES
from lib.runtime.files import Row, sha256_of_value
from lib.viewers.rows import join
from tests.analysis.analysis_rows import response

GONE = missing_candidate("it ended with 'content_filter'") | {"rewards": dict.fromkeys(ROLES)}


def systems() -> dict[str, list[Row]]:
    """Two systems of three prompts; both lack an answer to the first, b one to the second."""
    a = [response(number, f"a {number}", 1.0, selector=1.0) for number in range(3)]
    b = [response(number, f"b {number}", 2.0, selector=2.0) for number in range(3)]
    for rows, missing in ((a, [0]), (b, [0, 1])):
        for number in missing:
            rows[number] = {**rows[number], "candidates": [GONE]}
    return {"a": a, "b": b}


def test_two_missing_answers_are_no_tie() -> None:
    board = scoreboard(systems(), ["judge"])
    assert board.outcomes("judge", "a", "b").tolist() == pytest.approx(
        [np.nan, np.nan, 0], nan_ok=True)
    assert board.texts[1].tolist() == [None, None, "b 2"]
    assert np.isnan(board.characters[1]).tolist() == [True, True, False]


def nothing_in_common() -> dict[str, list[Row]]:
    """The judge scored no prompt of both systems; the selector scored all."""
    def rows(name: str, scored: range) -> list[Row]:
        return [response(number, f"{name} {number}", 1.0 if number in scored else None,
                         selector=float(number)) for number in range(4)]
    return {"base": rows("a", range(2)), "sft": rows("b", range(2, 4)),
            "dpo": rows("c", range(1, 4))}


def test_a_comparison_without_a_scored_prompt_is_a_row_of_nothing_and_spoils_no_other() -> None:
    board = scoreboard(nothing_in_common(), ROLES)
    rows = {(row["judge"], row["a"], row["b"]): row for row in round_robin(board, resamples=50)}
    gone = rows["judge", "sft", "base"]
    assert (gone["n"], gone["missing"], gone["wins"]) == (0, 4, 0)
    assert {gone[key] for key in ("win_rate", "ci_low", "bootstrap_high", "p_value", "holm_p",
                                  "length_controlled", "smallest_effect")} == {None}
    assert rows["judge", "dpo", "sft"]["n"] == 2
    assert rows["judge", "dpo", "sft"]["holm_p"] is not None
    assert rows["selector", "sft", "base"]["n"] == 4
    assert "| 0 | 0 / 0 / 0 | – | – | – | nothing: no prompt" in win_rate_table([gone])
    assert verdict_lines([gone], "judge") == ["By the judge, no prompt judged: sft over base –."]
    titles = [figure(list(rows.values()), *more).layout.title.text for figure, more in (
        (win_rates_figure, ()), (round_robin_figure, ("judge",)))]
    assert not any("None" in title or "nan" in title for title in titles)
    json.dumps(list(rows.values()), allow_nan=False)


def test_agreement_and_interaction_without_a_prompt_are_none() -> None:
    board = scoreboard(nothing_in_common(), ROLES)
    (row,) = judge_agreement(board, [("sft", "base")])
    assert (row["n"], row["missing"], row["agreement"], row["kappa"]) == (0, 4, None, None)
    row = complementarity(board, "judge", "dpo", "sft", "base", "base", resamples=50)
    assert (row["n"], row["missing"], row["mean"], row["gain_with"]) == (0, 4, None, None)
    assert "nothing: no prompt has the four scores" in complementarity_table([row])


def test_a_system_that_the_judge_never_compared_has_no_rating() -> None:
    systems = nothing_in_common()
    systems["sft"] = systems["sft"][:2]  # none of these has the judge's score
    ratings = {judge: rate_systems(scoreboard(systems, ROLES), judge, resamples=50)
               for judge in ROLES}
    assert set(ratings["judge"].systems) == {"base", "dpo"}
    assert len(ratings["selector"].systems) == 3
    rows = [row for judge in ("judge", "selector") for row in ratings_rows(ratings[judge], judge)]
    assert len(ratings_figure(rows).layout.yaxis.ticktext) == 3


def test_a_missing_candidate_is_drawn_by_nobody() -> None:
    def pool(name: str) -> list[Row]:
        whole = response(0, f"{name} 0", 1.0, selector=1.0)
        return [{**whole, "candidates": [*whole["candidates"], GONE]}]
    board = candidate_board({("sft", 0.6): pool("a"), ("dpo", 0.6): pool("b")}, ROLES, 0.6)
    found = board.matches("judge", "dpo", "sft")
    assert found.weights.tolist() == [[[1, 0], [0, 0]]]
    assert found.left_out == 2


def test_texts_are_measured_where_there_is_one() -> None:
    found = text_metrics(systems()["b"])
    assert (found["n"], found["empty"], found["mean_characters"]) == (1, 0, 3)
    with pytest.raises(ValueError, match="no response rows"):
        text_metrics(systems()["b"][:2])


def test_a_missing_answer_breaks_no_constraint() -> None:
    heldout = [{"id": f"p{number}", "prompt": f"Question {number}?", "kwargs": [{}],
                "instruction_id_list": ["punctuation:no_comma"]} for number in range(3)]
    assert [check.id for check in constraint_checks(systems()["b"], heldout)] == ["p2"]


def test_exports_hold_no_empty_text_and_keep_the_numbers_of_the_others() -> None:
    rows = systems()["b"]
    assert [row["output"] for row in alpaca_eval_outputs(rows, "b")] == ["b 2"]
    hashed = [{**row, "id": sha256_of_value(row["prompt"])[:16]} for row in rows]
    assert [row["id"] for row in leaderboard_rows(hashed, "b")] == ["2"]


def test_a_pool_with_missing_candidates_has_costs() -> None:
    rows = [{**row, "candidates": [*row["candidates"], GONE]} for row in systems()["a"]]
    cost = {"policy": "sft", "temperature": 0.6, "candidates": 2, "prompts": 3, "tokens": None,
            "sampling_seconds": 3.0, "scoring_seconds": 3.0}
    found, = cost_rows({("sft", 0.6): rows}, rows, [cost])
    assert (found["distinct"], found["at_limit"], found["gain"]) == (pytest.approx(2 / 3), 0, None)


def test_the_viewer_says_why_there_is_no_answer() -> None:
    shown = join(systems(), [], ["judge"]).prompts[0].pools[0]
    assert shown.answers[0].text == "(no answer: it ended with 'content_filter')"
    assert not shown.picked
