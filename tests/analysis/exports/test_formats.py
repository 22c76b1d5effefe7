"""Other tools' formats: rows that they read, with ids, verdicts and turns as they expect."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lib.analysis.exports import formats
from lib.data.schema import convert, heldout_row
from tests.analysis.analysis_rows import system


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


def test_preferences_come_back_from_parquet_as_messages(tmp_path: Path) -> None:
    rows = [{"id": "x", "prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello",
             "rejected": "No", "score_chosen": None, "score_rejected": 2.0, "source": "s"}]
    formats.write_preferences(tmp_path / "pairs.parquet", rows)
    [row] = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert list(row) == ["prompt", "chosen", "rejected", "score_chosen", "score_rejected"]
    assert row["chosen"] == [{"role": "assistant", "content": "Hello"}]
    assert (row["score_chosen"], row["score_rejected"]) == (None, 2.0)
