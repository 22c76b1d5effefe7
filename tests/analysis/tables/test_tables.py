"""Tables, sentences, formats and model cards; the paper's numbers; what selection explains."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest

from lib.analysis.best_of_n.selection_effects import complementarity
from lib.analysis.comparisons.paper import INCONSISTENCIES, TABLE_1, claims, paper_row, paper_rows
from lib.analysis.comparisons.scoreboard import scoreboard
from lib.analysis.comparisons.win_rates import round_robin
from lib.analysis.exports import formats
from lib.analysis.exports.model_card import model_card
from lib.analysis.policies.divergence import kl_divergence
from lib.analysis.tables import formatting
from lib.data.schema import convert, heldout_row
from tests.analysis.analysis_rows import compare, system


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


def test_leaderboard_rows_have_the_class_format_and_the_ids_of_their_file() -> None:
    rows = formats.leaderboard_rows(system([1, 2]), "ours")
    assert list(rows[1]) == ["prompt", "response", "id", "model", "dataset", "split"]
    assert (rows[1]["id"], rows[1]["dataset"], rows[1]["split"]) == ("p1", "ultrafeedback", "test")


def test_a_leaderboard_row_without_an_id_of_its_own_gets_its_number() -> None:
    rows = convert([{"prompt": "a"}, {"prompt": "a"}, {"prompt": "b", "id": "0af" * 10 + "01"},
                    {"prompt": "c", "prompt_id": hashlib.sha256(b"c").hexdigest()}],
                   heldout_row, "f")
    answered = [{**row, "id": own["id"], "prompt": own["prompt"]}
                for row, own in zip(system([1] * 4), rows, strict=True)]
    assert [row["id"] for row in formats.leaderboard_rows(answered, "ours")] == [
        "0", "1", "0af" * 10 + "01", "3"]


def test_the_reconstructed_score_counts_strict_wins_and_leaves_gaps_out() -> None:
    row = formats.reconstructed_score(system([1, 2, 3, None]),
                                      {"p0": 0.5, "p1": 2.0, "p2": None, "p3": 1.0}, "judge")
    assert (row["reconstructed_score"], row["n"], row["missing"]) == (0.5, 2, 2)
    with pytest.raises(ValueError, match="score both first"):
        formats.reconstructed_score(system([1]), {}, "judge")


def test_llm_comparator_json_has_every_required_key() -> None:
    value = formats.llm_comparator(system([2, None]), system([1, 1], "b"), "dpo", "sft", ["judge"])
    json.dumps(value, allow_nan=False)
    assert [model["name"] for model in value["models"]] == ["dpo", "sft"]
    better, unscored = value["examples"]
    assert set(better) == {"input_text", "tags", "output_text_a", "output_text_b", "score",
                           "individual_rater_scores", "custom_fields"}
    assert better["score"] == 1
    assert better["custom_fields"]["reward: judge"] == [2, 1]
    assert (unscored["score"], unscored["individual_rater_scores"]) == (None, [])


def test_alpaca_eval_outputs_name_their_generator() -> None:
    assert formats.alpaca_eval_outputs(system([1]), "dpo")[0] == {
        "instruction": "Question 0?", "output": "a says word 0", "generator": "dpo",
        "dataset": "coding"}


def test_preferences_come_back_from_parquet_as_messages(tmp_path: object) -> None:
    rows = [{"id": "x", "prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello",
             "rejected": "No", "score_chosen": None, "score_rejected": 2.0, "source": "s"}]
    formats.write_preferences(tmp_path / "pairs.parquet", rows)
    [row] = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert list(row) == ["prompt", "chosen", "rejected", "score_chosen", "score_rejected"]
    assert row["chosen"] == [{"role": "assistant", "content": "Hello"}]
    assert (row["score_chosen"], row["score_rejected"]) == (None, 2.0)


def test_a_model_card_states_data_results_limits_and_provenance() -> None:
    row = compare(system([2] * 9), system([1] * 9, "b"), "judge", "dpo", "sft")
    manifest = {"parameters": {"dpo": {"beta": 0.1}}, "inputs": {"data": "abc"}, "seed": 0,
                "git": {"commit": "1234", "dirty": True}, "environment": {"torch": "2.13.0"}}
    others = row | {"a": "sft", "b": "base"}
    card = model_card("Study DPO", "dpo", "a/base", manifest, [row, others])
    assert card.startswith("---\nbase_model: a/base\n")
    assert "| dpo.beta | 0.1 |" in card
    assert card.count("1.00 [.70, 1.00]") == 1
    assert "made by a large language model" in " ".join(card.split())
    assert "not by people" in card
    assert "Commit `1234` with uncommitted changes; torch 2.13.0" in card
    assert "No answers were measured." in card


def test_kl_estimates_agree_with_the_vector_and_vanish_for_equal_policies() -> None:
    found = kl_divergence([-1.0, -2.0], [-1.2, -1.5], [0.1, 0.2])
    assert (found["kl"], found["k1"]) == pytest.approx((0.15, -0.15))
    assert found["k3"] == pytest.approx((0.018730753078 + 0.1487212707) / 2, abs=1e-9)
    same = kl_divergence([-3.0, -4.0], [-3.0, -4.0], [0.0, 0.0])
    assert (same["kl"], same["k1"], same["k3"]) == (0, 0, 0)


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
