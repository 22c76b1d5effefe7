"""Tables and sentences: what was decided, with its interval and n, and a dash where nothing is."""

from collections.abc import Callable

import pytest

from lib.analysis import tables
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import rate_systems, ratings_rows
from lib.analysis.tables import formatting
from lib.analysis.texts.metrics import text_metrics_by_system
from tests.analysis.analysis_rows import compare, response, system


def test_an_undecided_comparison_says_what_its_prompts_see_and_what_they_leave() -> None:
    row = compare(system([2] * 11 + [0] * 9), system([1] * 20, "b"), "judge", "dpo", "sft")
    told = "n = 20 sees effects of at least .34; they differ by at most .23"
    assert formatting.conclusion(row) == f"undecided: {told}"
    assert formatting.verdict_lines([row], "judge") == [
        "By the judge, undecided: dpo over sft .55 [.34, .74]."]


def test_an_even_comparison_is_settled_where_the_margin_holds_it() -> None:
    row = compare(system([2] * 500 + [0] * 500), system([1] * 1000, "b"), "judge")
    assert formatting.conclusion(row) == (
        "even: n = 1,000 sees effects of at least .04; they differ by at most .03")


def test_decided_comparisons_name_the_winner_and_whether_it_outlasts_holm() -> None:
    row = compare(system([0] * 20), system([1] * 20, "b"), "judge", "dpo", "sft")
    assert formatting.conclusion(row) == "sft wins"
    assert formatting.verdict_lines([row], "judge") == [
        "By the judge, decided: dpo over sft .00 [.00, .16]."]
    doubtful = row | {"holm_p": 0.2}
    assert formatting.conclusion(doubtful) == "sft wins, but not after Holm's correction"
    assert formatting.verdict_lines([doubtful, row], "judge") == [
        "By the judge, decided: dpo over sft .00 [.00, .16]*; dpo over sft .00 [.00, .16]. "
        "(* not after Holm's correction)"]


def test_a_length_controlled_rate_has_its_interval_and_a_mark_where_it_is_doubtful() -> None:
    row = {"length_controlled": 0.62, "length_controlled_low": 0.5, "length_controlled_high": 0.7}
    assert formatting.length_controlled(row) == ".62 [.50, .70]"
    assert formatting.length_controlled(row | {"length_extreme": True}) == ".62 [.50, .70] †"
    row = {"length_controlled": 0.62, "length_penalty": 0.1}
    assert formatting.length_controlled(row) == ".62 †"


def test_a_value_without_ends_or_without_itself_is_shown_as_it_is() -> None:
    assert formatting.interval({"x": 0.5, "ci_low": 0.4, "ci_high": 0.6}, "x") == ".50 [.40, .60]"
    assert formatting.interval({"x": 0.5}, "x", digits=3) == ".500"
    assert formatting.interval({"x": None}, "x") == "–"
    assert formatting.with_n(None) == "–"


def test_tables_escape_what_would_break_them() -> None:
    rows = [{"name": "a|b\nc", "x": 0.5}, {"name": "<b>", "x": None}]
    columns = {"name": "name", "x": "x"}
    assert formatting.markdown_table(rows, columns).splitlines()[2] == "| a\\|b c | .50 |"
    assert ">&lt;b&gt;</td>" in formatting.html_table(rows, columns)


def test_words_stand_left_in_an_html_table_and_numbers_right() -> None:
    table = formatting.html_table([{"name": "a\nb", "x": 0.5}], {"name": "name", "x": "x"})
    words, numbers = table.split("<tr>")[2].split("</td>")[:2]
    assert "text-align:left" in words
    assert "pre-wrap" in words  # line breaks of an answer stay
    assert "text-align:right" in numbers


def family() -> dict[str, list[dict]]:
    systems = {"base": system([1, 1, 1, 1]), "sft": system([2, 2, 0, 0], "b"),
               "dpo": system([2, 2, 2, 0], "c")}
    for rows in systems.values():
        for row in rows:
            row["candidates"][0]["rewards"]["selector"] = -row["candidates"][0]["rewards"]["judge"]
    return systems


def test_ratings_are_a_line_a_system_and_a_column_a_judge() -> None:
    board = scoreboard(family(), ["judge", "selector"])
    ratings = [row for judge in board.judges
               for row in ratings_rows(rate_systems(board, judge, resamples=50), judge)]
    table = tables.ratings_table(ratings)
    assert table.splitlines()[0].startswith("| system | judge | selector |")
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["dpo", "sft", "base"]


@pytest.mark.parametrize(("table", "sentence"), [
    (tables.seeds_table, "One seed was run"), (tables.warning_table, "This run has no warning"),
    (tables.displacement_table, "DPO was not evaluated twice, so no change can be shown"),
    (tables.components_table, "This run did not take its variance apart"),
    (tables.reward_models_table, "This run did not fit its reward models"),
    (tables.printed_answers_table, "These results were written before the signs were counted")])
def test_a_table_of_what_was_not_measured_says_so(table: Callable, sentence: str) -> None:
    assert table([]).startswith(sentence)


def test_text_and_retention_tables_show_a_dash_for_what_is_not_defined() -> None:
    table = tables.text_table(text_metrics_by_system({"sft": [response(0, "A b c d e", 1.0)]}))
    assert "| sft | 1 | 5.0 |" in table
    assert "| – |" in table
    row = {"policy": "base", "n": 2, "tokens": 1200, "loss": 2.0, "ci_low": 1.9, "ci_high": 2.1,
           "perplexity": 7.39, "change": None, "change_low": None, "change_high": None}
    assert "| base | 2 | 1,200 | 2.000 [1.900, 2.100] | 7.39 | – |" in tables.retention_table([row])
