"""A model card: what a reader who meets the model alone has to know."""

from lib.analysis.exports.model_card import model_card
from tests.analysis.analysis_rows import compare, system


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
