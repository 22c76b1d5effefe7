"""The paper's numbers: whole counts, beside ours where it made the comparison, and its claims."""

import pytest

from lib.analysis.comparisons.paper import INCONSISTENCIES, TABLE_1, claims, paper_row, paper_rows
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.analysis.tables import formatting
from tests.analysis.analysis_rows import system


def test_the_papers_rates_stand_beside_ours() -> None:
    systems = {"base": system([1, 1, 1]), "sft": system([2, 2, 0], "b")}
    rows = round_robin(scoreboard(systems, ["judge"]), resamples=20)
    table = formatting.paper_table(rows, ["judge", "selector"])
    assert "| sft over base | .945 [.904, .969] | .67 [.21, .94], n = 3 | – |" in table
    assert "wins / ties / losses" in formatting.win_rate_table(rows)
    assert len(formatting.claims_table(claims()).splitlines()) == len(claims()) + 2


def test_the_papers_table_has_whole_counts_of_200() -> None:
    assert [rate.wins for rate in TABLE_1] == [189, 194, 124, 186, 187, 175]
    assert all(rate.wins / 200 == pytest.approx(rate.rate) for rate in TABLE_1)
    assert all(row["ci_low"] < row["win_rate"] < row["ci_high"] for row in paper_rows())


@pytest.mark.parametrize(("number", "told"), [
    (8, "identical"), (10, "partly true at most"), (11, "instruct model"), (12, '"[C]"'),
    (13, "which release"), (14, "512 tokens can remove the end of turn"), (14, "1,024"),
    (15, ".115 is 23 of 200 prompts, and the bar of .1 is 20")])
def test_the_papers_sixteen_inconsistencies_are_told_with_their_parts(
        number: int, told: str) -> None:
    assert len(INCONSISTENCIES) == 16
    assert told in INCONSISTENCIES[number - 1]


@pytest.mark.parametrize(("a", "b", "rate"), [
    ("dpo", "sft", 0.62), ("sft+bon4@0.6", "base", 0.97), ("dpo+bon4@1", "sft", 0.875),
    ("dpo+bon4@0.1", "sft", None), ("dpo", "base", None), ("dpo+bon8@0.6", "sft", None)])
def test_only_comparisons_that_the_paper_made_have_its_rate(
        a: str, b: str, rate: float | None) -> None:
    found = paper_row(a, b)
    assert (found and found["win_rate"]) == rate
